"""Alarms from what sources tell: who hangs, who does not answer, and what tells nothing. They follow from the snapshot.

A heartbeat grows with every step that makes tokens; the counts and the cache, which are looked at as well, change in
other steps, too. A rank that has requests running and of which nothing changes does not step. Where others step
meanwhile it is that rank. In lockstep they all wait for the one that hangs: then nothing of this tells which, and only
other evidence may name one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dp_coordinator.alarms.kinds import Alarm, few
from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.sentences import ranks
from dp_coordinator.sourced import RankView, TargetView
from dp_coordinator.words import AlarmKind, EngineStatus, RankCondition, Severity, TargetState

FIRST_ANSWER_S = 120.0
"""Seconds that an API server beside a coordinator gets to answer for the first time: it begins after its engine."""
_STANDS_BY_ITSELF = {RankCondition.PAUSED, RankCondition.SLEEPING, RankCondition.SCALING}


def standing(snapshot: Snapshot, limit: float) -> dict[int, RankView]:
    """Ranks with requests running of which nothing changed for `limit` seconds, as far as anybody looked."""
    busy = _busy(snapshot).items()
    return {rank: view for rank, view in busy if view.heartbeat is not None and view.heartbeat.stood_s >= limit}


def stepped(snapshot: Snapshot) -> dict[int, float]:
    """When each rank was last seen to make a step, of those that ever were."""
    beats = {rank: view.heartbeat for rank, view in _views(snapshot).items()}
    return {rank: b.grew_at for rank, b in beats.items() if b is not None and b.grew_after is not None}


def rank_hung(snapshot: Snapshot, limit: float) -> Alarm | None:
    """Ranks that stand while others step, or where every engine steps by itself."""
    stand = standing(snapshot, limit)
    grown = sorted(((_grew(view), rank) for rank, view in _views(snapshot).items()), reverse=True)[:2]
    hung: dict[int, float] = {}
    for rank, view in stand.items():
        assert view.heartbeat is not None
        last = view.heartbeat.moved_at
        # What is told of two ranks is told at different moments, and in lockstep others get one step further.
        others = any(at >= last + limit / 2 for at, other in grown if other != rank)
        if others or _alone(snapshot):
            hung[rank] = last
    if not hung:
        return None
    since = min(hung.values())
    said = [f"rank {rank} ({stand[rank].address})" for rank in sorted(hung)]
    title = f"Hung: {_few(said)} {_have(said)} requests and made no step"
    return Alarm(AlarmKind.RANK_HUNG, Severity.CRITICAL, since, title, tuple(sorted(hung)), _running(stand, hung))


def deployment_stands(snapshot: Snapshot, limit: float, found: Mapping[int, str]) -> Alarm | None:
    """No rank with requests steps. `found`: ranks whose process is stopped or gone, in words."""
    busy, stand = _busy(snapshot), standing(snapshot, limit)
    if not stand or len(stand) < len(busy) or _alone(snapshot) or rank_hung(snapshot, limit) is not None:
        return None
    since = max(view.heartbeat.moved_at for view in stand.values() if view.heartbeat is not None)
    suspects, why = _narrowed(snapshot, found)
    title = f"The deployment stands: {ranks(stand)} {_have(list(stand))} requests, and none makes a step; {why}"
    return Alarm(AlarmKind.DEPLOYMENT_STANDS, Severity.CRITICAL, since, title, suspects, _running(stand, stand))


def _narrowed(snapshot: Snapshot, found: Mapping[int, str]) -> tuple[tuple[int, ...], str]:
    """Which rank it may be, by the best evidence there is, and what that is."""
    if found:
        return tuple(sorted(found)), _few([f"rank {rank}, {found[rank]}" for rank in sorted(found)])
    if gone := tuple(sorted(snapshot.peers.gone)):
        return gone, f"{ranks(gone)} {'is' if len(gone) == 1 else 'are'} {EngineStatus.GONE}"
    silent = tuple(rank for rank, view in _views(snapshot).items() if view.silent)
    if silent:
        return silent, f"the API server of {ranks(silent)} does not answer"
    columns = snapshot.engines
    waves = {rank: wave for rank, wave in enumerate(columns.current_wave) if wave is not None}
    behind = tuple(rank for rank, wave in waves.items() if wave < max(waves.values()))
    if behind:
        return behind, f"{ranks(behind)} {'is' if len(behind) == 1 else 'are'} behind in an earlier wave"
    steps = {rank: step for rank, step in enumerate(columns.step_counter) if step is not None}
    late = [rank for rank, step in steps.items() if step < max(steps.values())]
    if len(late) == 1:  # it may have had nothing to report since
        return (), f"cannot tell which (rank {late[0]} reported last at step {steps[late[0]]} of {max(steps.values())})"
    return (), "cannot tell which"


def rank_fault(snapshot: Snapshot) -> Alarm | None:
    """What vLLM itself says of its engines."""
    kinds = (RankCondition.DEAD, RankCondition.UNHEALTHY)
    faults = {
        rank: (kind, view.conditions[kind])
        for rank, view in _views(snapshot).items()
        for kind in kinds
        if kind in view.conditions and not view.silent
    }
    if not faults:
        return None
    since = min(told.at for _, told in faults.values())
    said = [f"rank {rank} is {kind} ({told.value})" for rank, (kind, told) in sorted(faults.items())]
    title = f"By vLLM's own word {_few(said)}"
    return Alarm(AlarmKind.RANK_FAULT, Severity.CRITICAL, since, title, tuple(sorted(faults)))


def endpoint_silent(snapshot: Snapshot, now: float, since_start: float) -> Alarm | None:
    """API servers that do not answer, of ranks whose connection has not ended: that alarm says it already.

    `since_start`: seconds since somebody has looked.
    """
    silent = [
        target
        for target in _targets(snapshot, TargetState.SILENT)
        if not (target.ranks and set(target.ranks) <= snapshot.peers.gone.keys())
        and (target.answered_at is not None or snapshot.watched or since_start >= FIRST_ANSWER_S)
    ]
    if not silent:
        return None
    engines = sorted(rank for target in silent for rank in target.ranks)
    said = [f"{_whose(target)}{target.name}: {target.problem}" for target in silent]
    who = "API server does" if len(silent) == 1 else f"{len(silent)} API servers do"
    title = f"{who} not answer: {_few(said)}"
    since = min(now if target.since is None else target.since for target in silent)
    return Alarm(AlarmKind.ENDPOINT_SILENT, Severity.CRITICAL, since, title, tuple(engines))


def source_unusable(snapshot: Snapshot, now: float) -> Alarm | None:
    """Targets whose answers tell nothing."""
    targets = [target for target in _targets(snapshot, TargetState.UNUSABLE) if not _scales(snapshot, target)]
    if not targets:
        return None
    said = [f"{_whose(target)}{target.name}: {target.problem}" for target in targets]
    title = f"Told nothing by {_few(said)}"
    since = min(now if target.since is None else target.since for target in targets)
    engines = tuple(sorted(rank for target in targets for rank in target.ranks))
    return Alarm(AlarmKind.SOURCE_UNUSABLE, Severity.WARNING, since, title, engines)


def _views(snapshot: Snapshot) -> Mapping[int, RankView]:
    """What is known of the ranks that there are."""
    known = {} if snapshot.sources is None else snapshot.sources.ranks
    return {rank: view for rank, view in known.items() if rank < snapshot.engine_count}


def _targets(snapshot: Snapshot, state: TargetState) -> list[TargetView]:
    return [] if snapshot.sources is None else [each for each in snapshot.sources.targets if each.state is state]


def _busy(snapshot: Snapshot) -> dict[int, RankView]:
    """Ranks that ought to step, by a source that still tells."""
    return {
        rank: view
        for rank, view in _views(snapshot).items()
        if view.running is not None
        and view.running.value > 0
        and view.heartbeat is not None
        and not view.silent
        and rank not in snapshot.peers.gone
        and not _STANDS_BY_ITSELF & view.conditions.keys()
    }


def _grew(view: RankView) -> float:
    """When it certainly grew last."""
    beat = view.heartbeat
    return -math.inf if beat is None or beat.grew_after is None else beat.grew_after


def _alone(snapshot: Snapshot) -> bool:
    """Whether every engine steps by itself, and a rank that stands is one that hangs."""
    if snapshot.watched:
        return snapshot.sources is not None and snapshot.sources.independent
    return not snapshot.wave_coordination


def _scales(snapshot: Snapshot, target: TargetView) -> bool:
    views = _views(snapshot)
    return any(rank in views and RankCondition.SCALING in views[rank].conditions for rank in target.ranks)


def _running(views: Mapping[int, RankView], of: Mapping[int, object]) -> dict[str, int]:
    told = (views[rank].running for rank in of)
    return {"requests": sum(each.value for each in told if each is not None)}


def _whose(target: TargetView) -> str:
    return f"{ranks(target.ranks)}, " if target.ranks and target.answered_at is not None else ""


def _few(said: Sequence[str]) -> str:
    return "; ".join(few(said))


def _have(of: Sequence[object]) -> str:
    return "has" if len(of) == 1 else "have"
