"""Requests that arrive because somebody asked for them."""

from __future__ import annotations

import math
import os

from dp_coordinator.simulation.options import FrontEndOptions
from dp_coordinator.simulation.traffic import Arrivals


class Demand(Arrivals):
    """Requests asked for in lines of a pipe, each a number; they arrive from then on, at random moments."""

    def __init__(self, options: FrontEndOptions, descriptor: int) -> None:
        super().__init__(options)
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._read = b""
        self._left = 0
        self.asked = 0
        """How many requests were asked for in all."""
        self.unanswered = False
        """Whether some have been asked for since the totals were told last. The host sets it back."""

    def fileno(self) -> int:
        """Give a descriptor that is readable when `read` has something to do."""
        return self._descriptor

    def read(self, now: float) -> bool:
        """Take in what was asked for; False when nobody can ask any more. Raises `ValueError` for what is no number."""
        try:
            read = os.read(self._descriptor, 4096)
        except BlockingIOError:
            return True
        *lines, self._read = (self._read + read).split(b"\n")
        for line in lines:
            self._ask(int(line), now)
        return bool(read)

    def _ask(self, requests: int, now: float) -> None:
        if self._left == 0 and requests:
            self.next_at = now
        self._left += requests
        self.asked += requests
        self.unanswered = True

    def _next_after(self, time: float) -> float:
        self._left -= 1
        return time + self._gap() if self._left else math.inf
