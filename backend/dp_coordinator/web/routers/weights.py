"""What a router should do with each rank: send it requests, and how many, or none.

A rank's weight falls in a line from 100 for the one with the fewest requests to nearly 0 for one that has so many more
than the average that it should get none until the next look: a quarter more, and one at least. That corrects a
difference about five times as fast as requests that end would by themselves, and does not overshoot with a look every
second, unless most requests take less than some seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dp_coordinator.messages_loads import RankLoad
from dp_coordinator.web.routers.avoided import GONE

HEADROOM = 0.25
"""Of the average: how many more requests than that a rank must have to get no further ones."""


class Advice(NamedTuple):
    """What to do with one rank."""

    weight: int
    """1 to 100, beside the others."""
    avoid: str | None = None
    """Why it should get no requests, in a few words."""
    gone: bool = False
    """It cannot answer any more."""


def advice(loads: Sequence[RankLoad], avoid: Mapping[int, str]) -> list[Advice]:
    """What to do with each rank; `avoid`: which ones should get no requests, and why (`avoided`)."""
    weights = _weights([None if load.rank in avoid else _requests(load) for load in loads])
    reasons = [avoid.get(load.rank) for load in loads]
    return [Advice(weight, reason, reason in GONE) for weight, reason in zip(weights, reasons, strict=True)]


def _requests(load: RankLoad) -> int | None:
    """How many requests a rank has; None when nobody has told."""
    return None if load.waiting is None or load.running is None else load.waiting + load.running


def _weights(requests: Sequence[int | None]) -> list[int]:
    """A weight for each; one of which nothing is known counts as average."""
    known = [count for count in requests if count is not None]
    if not known:
        return [100] * len(requests)
    average = sum(known) / len(known)
    full = average + max(1.0, HEADROOM * average)
    most = full - min(known)
    return [max(1, round(100 * (full - (average if count is None else count)) / most)) for count in requests]
