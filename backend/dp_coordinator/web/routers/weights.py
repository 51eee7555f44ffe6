"""What a router should do with each rank: send it requests, and how many, or none.

A rank's weight falls in a line from 100 for the one with the fewest requests to nearly 0 for one with twice the
average, which gets none until the next look. A router acts on what was so a second or two ago, and what is steered by
old news swings when it corrects a difference faster than that would go away by itself, as requests end. At twice the
average it corrects just as fast, so that it never swings, however short the requests are. (A quarter more than the
average was tried: with requests of a second, ranks were full and empty in turns.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from dp_coordinator.messages_loads import RankLoad
from dp_coordinator.web.routers.avoided import GONE
from dp_coordinator.words import SourceKind

HEADROOM = 1.0
"""Of the average, and one at least: so many more requests than that a rank must have to get no further ones."""


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
    weights = _weights(_requests([load for load in loads if load.rank not in avoid]))
    reasons = [avoid.get(load.rank) for load in loads]
    return [
        Advice(weights.get(load.rank, 1), reason, reason in GONE) for load, reason in zip(loads, reasons, strict=True)
    ]


def _requests(loads: Sequence[RankLoad]) -> dict[int, float]:
    """How many requests each rank has.

    An engine begins with none and reports each change: one that never did has none. Of one whose metrics are asked for,
    and do not come, nothing is known: it counts as average.
    """
    told = {
        load.rank: load.waiting + load.running
        for load in loads
        if load.waiting is not None and load.running is not None
    }
    by_reports = {load.source for load in loads} <= {SourceKind.REPORTS, None}
    unknown = 0.0 if by_reports or not told else fmean(told.values())
    return {load.rank: told.get(load.rank, unknown) for load in loads}


def _weights(requests: Mapping[int, float]) -> dict[int, int]:
    if not requests:
        return {}
    average, least = fmean(requests.values()), min(requests.values())
    full = average + HEADROOM * max(1.0, average)
    return {rank: max(1, round(100 * (full - count) / (full - least))) for rank, count in requests.items()}
