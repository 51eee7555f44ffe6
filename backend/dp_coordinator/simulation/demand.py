"""Requests that arrive because somebody asked for them."""

from __future__ import annotations

import math
import os
import random

from dp_coordinator.simulation.options import FrontEndOptions
from dp_coordinator.simulation.traffic import PROMPT_TOKENS, Size


class Demand:
    """Traffic asked for in lines of a pipe, each a number of requests. Times are Unix time in seconds."""

    def __init__(self, options: FrontEndOptions, descriptor: int) -> None:
        """They arrive at the options' rate, at random moments; steps and seed are the options' too."""
        os.set_blocking(descriptor, False)
        self._options, self._descriptor = options, descriptor
        self._random = random.Random(f"{options.seed} {options.index}")  # noqa: S311
        self._read = b""
        self._left = 0
        self.asked = 0
        """How many requests were asked for in all."""
        self.unanswered = False
        """Whether some have been asked for since the totals were told last. The host sets it back."""
        self.next_at = math.inf
        """When the next request arrives."""

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

    def due(self, now: float) -> list[Size]:
        """Give the requests that have arrived since the last call."""
        arrived: list[Size] = []
        while self.next_at <= now:
            steps = self._random.randint(self._options.min_steps, self._options.max_steps)
            arrived.append(Size(self._random.randint(*PROMPT_TOKENS), steps))
            self._left -= 1
            self.next_at = self.next_at + self._random.expovariate(self._options.rate) if self._left else math.inf
        return arrived
