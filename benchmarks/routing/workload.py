"""Requests of very different lengths, the same ones in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

SHORT_S, LONG_S = (0.1, 0.4), (2.0, 6.0)
LONG_SHARE = 0.2
MEAN_S = (1 - LONG_SHARE) * sum(SHORT_S) / 2 + LONG_SHARE * sum(LONG_S) / 2


class Request(NamedTuple):
    """When it arrives, and for how long it runs once it does, in seconds."""

    at: float
    takes: float


def requests(rate: float, seconds: float, seed: int) -> Iterator[Request]:
    """Requests at random moments, `rate` a second in the mean; four of five are short."""
    chance = random.Random(seed)
    at = chance.expovariate(rate)
    while at < seconds:
        yield Request(at, chance.uniform(*(LONG_S if chance.random() < LONG_SHARE else SHORT_S)))
        at += chance.expovariate(rate)


def percentile(values: list[float], share: float) -> float:
    """The value below which so great a share lies; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
