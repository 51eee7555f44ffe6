"""Bounds on how often something may happen."""

from __future__ import annotations

from collections import Counter, OrderedDict
from threading import Lock


class TokenBucket:
    """Lets `burst` things happen at once and `rate` a second in the long run. Time is passed in (monotonic seconds)."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, now: float, amount: float = 1) -> bool:
        """Use so many up; False, and none is, when there are not so many left."""
        if self.wait(now, amount) > 0:
            return False
        self._left -= amount
        return True

    def wait(self, now: float, amount: float = 1) -> float:
        """Seconds until so many are there; 0 when they are there now."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (amount - self._left) / self._rate)


class Throttle:
    """One bucket for each of the newest 1,024 keys: a crowd of keys cannot take memory without bound."""

    KEYS = 1024

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def bucket(self, key: str, now: float) -> TokenBucket:
        """The bucket of a key, made full when the key is new."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
            while len(self._buckets) > self.KEYS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket


class Backoff:
    """How long a key waits: twice as long after each failure, not at all once it has had none for `forget` seconds.

    Of the newest 1,024 keys that failed. Times are monotonic seconds; `failed` is safe from any thread.
    """

    KEYS = 1024

    def __init__(self, first: float, most: float, forget: float) -> None:
        self._first, self._most, self._forget = first, most, forget
        self._lock = Lock()
        self._failures: dict[str, tuple[float, float]] = {}
        """Key -> seconds to wait, and when it failed last; oldest failure first."""

    def failed(self, key: str, now: float) -> None:
        """It has failed once more."""
        with self._lock:
            wait = self.wait(key, now)
            self._failures.pop(key, None)
            self._failures[key] = min(self._most, 2 * wait or self._first), now
            if len(self._failures) > self.KEYS:
                del self._failures[next(iter(self._failures))]

    def wait(self, key: str, now: float) -> float:
        """Seconds that it has to wait now."""
        wait, at = self._failures.get(key, (0.0, now))
        return wait if now - at < self._forget else 0.0


class Places:
    """At most `each` at a time for every key."""

    def __init__(self, each: int) -> None:
        self.each = each
        self._taken: Counter[str] = Counter()

    def take(self, key: str) -> bool:
        """Take a place; False when there is none left."""
        if self._taken[key] >= self.each:
            return False
        self._taken[key] += 1
        return True

    def give_back(self, key: str) -> None:
        """Give it back."""
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]
