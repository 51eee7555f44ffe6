"""When requests arrive at a front-end, and how large they are. No clock: times are Unix seconds that are handed in."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from typing import NamedTuple

from dp_coordinator.simulation.options import FrontEndOptions

BACKLOG_S = 1.0
"""Arrivals that were missed by more than this (the process was held up) are skipped, not made up for."""
PROMPT_TOKENS = (50, 400)


class Size(NamedTuple):
    """How much work a request is."""

    prompt_tokens: int
    steps: int


class Arrivals(ABC):
    """Requests of random sizes at the options' rate. Which moments those are, a subclass says."""

    def __init__(self, options: FrontEndOptions) -> None:
        self._options = options
        self._random = random.Random(f"{options.seed} {options.index}")  # noqa: S311
        self.next_at = math.inf
        """When the next request arrives."""

    @abstractmethod
    def _next_after(self, time: float) -> float:
        """When the request after the one at `time` arrives."""

    def due(self, now: float) -> list[Size]:
        """Give the requests that have arrived since the last call."""
        arrived: list[Size] = []
        while self.next_at <= now:
            steps = self._random.randint(self._options.min_steps, self._options.max_steps)
            arrived.append(Size(self._random.randint(*PROMPT_TOKENS), steps))
            self.next_at = self._next_after(self.next_at)
        return arrived

    def _gap(self) -> float:
        return self._random.expovariate(self._options.rate)


class Traffic(Arrivals):
    """Bursts of requests at random moments, and pauses long enough for a wave to end.

    Bursts depend on the seed and on how many cycles have passed since the epoch, so front-ends that share these burst
    and pause together, also when one of them was started later.
    """

    def __init__(self, options: FrontEndOptions, now: float) -> None:
        if options.rate <= 0 or not 0 < options.burst_min_s <= options.burst_max_s <= options.cycle_s:
            raise ValueError("--rate must be above 0, and 0 < --burst-min-s <= --burst-max-s <= --cycle-s")
        if not 1 <= options.min_steps <= options.max_steps:
            raise ValueError("--min-steps must be at least 1 and at most --max-steps")
        super().__init__(options)
        self.next_at = self._next_after(now)

    def due(self, now: float) -> list[Size]:
        """Give the requests that have arrived since the last call, without those that were missed for long."""
        if now - self.next_at > BACKLOG_S:
            self.next_at = self._next_after(now)
        return super().due(now)

    def burst(self, cycle: int) -> tuple[float, float]:
        """Give the start and end of a cycle's burst."""
        options = self._options
        start = options.epoch + cycle * options.cycle_s
        length = random.Random(f"{options.seed} burst {cycle}")  # noqa: S311
        return start, start + length.uniform(options.burst_min_s, options.burst_max_s)

    def _next_after(self, time: float) -> float:
        time += self._gap()
        cycle = int((time - self._options.epoch) // self._options.cycle_s)
        start, end = self.burst(cycle)
        return max(time, start) if time < end else self.burst(cycle + 1)[0] + self._gap()
