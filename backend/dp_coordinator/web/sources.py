"""From what sources told to the messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from dp_coordinator import messages as m
from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.sourced import SourcesView, TargetView, Told
from dp_coordinator.words import SourceKind


def provenance(snapshot: Snapshot) -> m.Provenance:
    """Who told each rank's numbers."""
    if not snapshot.provenance:
        told_at = snapshot.engines.reported_at
        kinds = [None if at is None else SourceKind.REPORTS for at in told_at]
    else:
        kinds = [None if origin is None else origin.kind for origin in snapshot.provenance]
    counted = Counter(kind for kind in kinds if kind is not None)
    most = max(counted, key=lambda kind: counted[kind], default=None)
    others = {kind: [rank for rank, each in enumerate(kinds) if each is kind] for kind in counted if kind is not most}
    return m.Provenance(most, others, [rank for rank, kind in enumerate(kinds) if kind is None])


def told(snapshot: Snapshot) -> list[str | None]:
    """Of each rank whose numbers a source tells which one that is."""
    kinds = [None if origin is None or origin.kind is SourceKind.REPORTS else origin for origin in snapshot.provenance]
    return [None if origin is None else f"{origin.kind} {origin.target}" for origin in kinds]


def of_rank(snapshot: Snapshot, rank: int, now: float) -> m.EngineSource | None:
    """What the sources say of a rank; None when they say nothing."""
    view = None if snapshot.sources is None else snapshot.sources.ranks.get(rank)
    newest = None if view is None else view.newest
    if view is None or newest is None:
        return None
    beat = view.heartbeat
    told: dict[str, Told[int] | Told[float] | None] = {
        "waiting": view.waiting,
        "running": view.running,
        "kv_cache_usage": view.kv_cache_usage,
    }
    numbers: dict[str, Any] = {name: None if each is None else each.value for name, each in told.items()}
    ages: dict[str, Any] = {
        f"{name}_age_s": None if each is None else _age(each.at, now) for name, each in told.items()
    }
    return m.EngineSource(
        source=newest.origin.kind,
        target=newest.origin.target,
        address=view.address,
        **numbers,
        **ages,
        heartbeat=None if beat is None else beat.value,
        heartbeat_unit="" if beat is None else beat.unit,
        heartbeat_age_s=None if beat is None else _age(beat.at, now),
        grew_age_s=None if beat is None or beat.grew_after is None else _age(beat.grew_at, now),
        conditions={condition: each.value for condition, each in view.conditions.items()},
    )


def _age(at: float, now: float) -> float:
    return round(max(0.0, now - at), 3)


def page(view: SourcesView | None, clock: Callable[[float], float]) -> m.SourcePage:
    """`GET /api/v1/sources`."""
    if view is None:
        return m.SourcePage([], independent=False)
    return m.SourcePage([_target(target, clock) for target in view.targets], view.independent)


def _target(target: TargetView, clock: Callable[[float], float]) -> m.Target:
    return m.Target(
        name=target.name,
        kind=target.kind,
        state=target.state,
        problem=target.problem,
        since_at=None if target.since is None else clock(target.since),
        answered_at=None if target.answered_at is None else clock(target.answered_at),
        ranks=list(target.ranks),
    )
