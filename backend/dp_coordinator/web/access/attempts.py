"""Wrong tokens: slowed for each client and in all. The right one is not held up by what others get wrong."""

from __future__ import annotations

import asyncio
import time

from dp_coordinator.hosts import neighbourhood
from dp_coordinator.limits import Throttle, TokenBucket
from dp_coordinator.web.problems import ProblemError

_RATE = 0.2
_IN_ALL = 10
"""Times what one client may: the bound for all of them."""
_PAUSE_S = 1.0
_PAUSING_AT_MOST = 256


class Attempts:
    """How often each client was wrong of late."""

    def __init__(self, burst: float) -> None:
        """`burst` wrong tokens of one client are answered at once, then one every five seconds."""
        self._each = Throttle(_RATE, burst)
        self._all = TokenBucket(_RATE * _IN_ALL, burst * _IN_ALL, time.monotonic())
        self._pausing = 0

    def check(self, client: str) -> None:
        """Raise `ProblemError` when a client has been wrong too often to be heard now."""
        now = time.monotonic()
        wait = self._each.bucket(neighbourhood(client), now).wait(now)
        if wait > 0:
            seconds = str(int(wait) + 1)
            raise ProblemError(
                "too-many-attempts",
                f"too many wrong tokens came from this address; try again in {seconds} s",
                headers={"Retry-After": seconds},
            )

    def failed(self, client: str) -> None:
        """Count a wrong token. Raises as `check` does when it was one too many."""
        now = time.monotonic()
        self._all.take(now)
        self.check(client)
        self._each.bucket(neighbourhood(client), now).take(now)

    async def pause(self, client: str) -> None:
        """Let a client wait that was wrong too often, or everybody who is wrong when there are many of them."""
        now = time.monotonic()
        slow = self._all.wait(now) > 0 or self._each.bucket(neighbourhood(client), now).wait(now) > 0
        if slow and self._pausing < _PAUSING_AT_MOST:
            self._pausing += 1
            try:
                await asyncio.sleep(_PAUSE_S)
            finally:
                self._pausing -= 1
