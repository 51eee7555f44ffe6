"""What a router should do with each rank: send it requests, and how many, or none.

A rank's weight falls in a line from 100 for the one with the fewest requests to nearly 0 for one that has so many more
than the average that it should get none until the next look: a quarter more, and one at least. That corrects a
difference about five times as fast as requests that end would by themselves, and does not overshoot with a look every
second, unless most requests take less than some seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.messages_loads import RankLoad
from dp_coordinator.words import AlarmKind, EngineStatus

HEADROOM = 0.25
"""Of the average: how many more requests than that a rank must have to get no further ones."""
_DOES_NOT_STEP = frozenset({AlarmKind.RANK_SILENT})
"""Alarms whose ranks should get no requests."""


class Advice(NamedTuple):
    """What to do with one rank."""

    weight: int
    """1 to 100, beside the others."""
    avoid: str | None = None
    """Why it should get no requests, in a few words."""
    gone: bool = False
    """It cannot answer any more."""


def advice(loads: Sequence[RankLoad], alarms: Collection[Alarm]) -> list[Advice]:
    """What to do with each rank.

    A suspicion never takes out the last ranks that are left: when all are suspected, a router that knows nothing better
    than to refuse every request would make it worse.
    """
    suspects = {rank: alarm.kind.value for alarm in alarms if alarm.kind in _DOES_NOT_STEP for rank in alarm.engines}
    avoided = [_reason(load, suspects) for load in loads]
    if all(avoided):
        avoided = [_reason(load, {}) for load in loads]
    weights = _weights([None if avoid else _requests(load) for load, avoid in zip(loads, avoided, strict=True)])
    return [
        Advice(weight, avoid, load.state is EngineStatus.GONE)
        for weight, avoid, load in zip(weights, avoided, loads, strict=True)
    ]


def _reason(load: RankLoad, suspects: dict[int, str]) -> str | None:
    """Why a rank should get no requests; None when it should."""
    if load.state in (EngineStatus.GONE, EngineStatus.JOINING):
        return load.state.value
    return suspects.get(load.rank)


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
