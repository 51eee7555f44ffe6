"""Which ranks a router should give no requests, and why.

A router that goes round a rank for nothing loses little: it comes back at the next look. So less evidence will do than
for an alarm, which somebody is woken for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dp_coordinator.alarms.hanging import rank_hung
from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.sourced import RankView
from dp_coordinator.words import AlarmKind, RankCondition

STANDS_S = 1.5
"""For so long a rank must have been seen to make no step while others did."""
GONE = frozenset({"gone", RankCondition.DEAD.value})
"""Reasons that are certain: such a rank cannot answer."""
_DOES_NOT_STEP = frozenset({AlarmKind.RANK_SILENT, AlarmKind.RANK_HUNG})


def avoided(snapshot: Snapshot, alarms: Collection[Alarm]) -> dict[int, str]:
    """Ranks to avoid, each with the reason in a word or two.

    A suspicion never takes out the last ranks that are left: when all are suspected, a router that refuses every
    request would make it worse.
    """
    certain = dict.fromkeys(snapshot.peers.gone, "gone") | _joining(snapshot)
    certain |= dict(_conditions(snapshot))
    suspected = {rank: alarm.kind.value for alarm in alarms if alarm.kind in _DOES_NOT_STEP for rank in alarm.engines}
    hung = rank_hung(snapshot, STANDS_S)
    suspected |= dict.fromkeys(() if hung is None else hung.engines, "stands")
    suspected |= {rank: "API server silent" for rank, view in _views(snapshot) if view.silent}
    if len(certain.keys() | suspected.keys()) >= snapshot.engine_count:
        return certain
    return suspected | certain


def _views(snapshot: Snapshot) -> list[tuple[int, RankView]]:
    return [] if snapshot.sources is None else list(snapshot.sources.ranks.items())


def _joining(snapshot: Snapshot) -> dict[int, str]:
    """Ranks that wait for READY: all of them, or those that are connected where metrics tell of the others."""
    if snapshot.ready:
        return {}
    if snapshot.sources is None:
        return dict.fromkeys(range(snapshot.engine_count), "joining")
    return {rank: "joining" for _, _, rank in snapshot.peers.connections if rank is not None}


def _conditions(snapshot: Snapshot) -> Iterator[tuple[int, str]]:
    for rank, view in _views(snapshot):
        for condition in view.conditions:
            yield rank, condition.value
