"""A token bucket for log lines."""

from __future__ import annotations


class RateLimit:
    """Admits `rate` per second, `burst` at once, and remembers how many it held back."""

    def __init__(self, *, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._last = 0.0
        self._held_back = 0

    def admit(self, now: float) -> int | None:
        """None to stay silent; otherwise how many were held back since the last one admitted."""
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
        self._last = now
        if self._tokens < 1:
            self._held_back += 1
            return None
        self._tokens -= 1
        held_back, self._held_back = self._held_back, 0
        return held_back
