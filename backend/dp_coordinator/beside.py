"""What the sources told, beside what the engines reported: one snapshot that every viewer is shown.

An engine's own report goes before what a source says of it: it is what front-ends route by. Where an engine reports
nothing, as behind external load balancing, the sources fill the row. They confirm steps, too: a number that grows with
each step shows that its rank steps, and a step takes every rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dp_coordinator.core.snapshot import EngineColumns, Snapshot, WaveEvidence
from dp_coordinator.sourced import Origin, RankView, SourcesView
from dp_coordinator.words import DeploymentState, SourceKind

REPORTED = Origin(SourceKind.REPORTS)


def beside(snapshot: Snapshot, sources: SourcesView) -> Snapshot:
    """The snapshot with `sources`, and with what follows from them."""
    filled = {
        rank: view
        for rank, view in sources.ranks.items()
        if rank < snapshot.engine_count and snapshot.engines.reported_at[rank] is None and view.newest is not None
    }
    wave = _confirmed(snapshot, sources)
    stepping = wave.confirmed_at is not None and snapshot.state is DeploymentState.STARTING
    engines = _filled(snapshot.engines, filled)
    waiting, running = _totals(snapshot, filled)
    return replace(
        snapshot,
        sources=sources,
        peers_version=snapshot.peers_version + sources.version,
        provenance=_provenance(engines, filled),
        engines=engines,
        waiting=waiting,
        running=running,
        wave=wave,
        state=DeploymentState.RUNNING if stepping else snapshot.state,
        state_since=wave.confirmed_at if stepping and wave.confirmed_at is not None else snapshot.state_since,
    )


def reports(snapshot: Snapshot) -> bool:
    """Whether any engine has reported; sources may tell of those that do not."""
    return REPORTED in snapshot.provenance if snapshot.provenance else snapshot.waiting is not None


def unheard(snapshot: Snapshot) -> list[int]:
    """Ranks that only sources tell of, none of which answers now: what they had is in no sum."""
    if snapshot.sources is None:
        return []
    told = enumerate(snapshot.provenance)
    views = snapshot.sources.ranks
    return [rank for rank, origin in told if origin not in (None, REPORTED) and views[rank].silent]


def _provenance(engines: EngineColumns, filled: Mapping[int, RankView]) -> tuple[Origin | None, ...]:
    def of(rank: int, at: float | None) -> Origin | None:
        told = filled[rank].newest if rank in filled else None
        return told.origin if told is not None else None if at is None else REPORTED

    return tuple(of(rank, at) for rank, at in enumerate(engines.reported_at))


def _filled(engines: EngineColumns, filled: Mapping[int, RankView]) -> EngineColumns:
    if not filled:
        return engines
    waiting, running, usage = list(engines.waiting), list(engines.running), list(engines.kv_cache_usage)
    told_at = list(engines.reported_at)
    for rank, view in filled.items():
        newest = view.newest
        waiting[rank] = None if view.waiting is None else view.waiting.value
        running[rank] = None if view.running is None else view.running.value
        usage[rank] = None if view.kv_cache_usage is None else view.kv_cache_usage.value
        told_at[rank] = None if newest is None else newest.at
    return replace(
        engines,
        waiting=tuple(waiting),
        running=tuple(running),
        kv_cache_usage=tuple(usage),
        reported_at=tuple(told_at),
    )


def _totals(snapshot: Snapshot, filled: Mapping[int, RankView]) -> tuple[int | None, int | None]:
    """The sums with what sources told of ranks that are neither gone nor silent."""
    there = [view for rank, view in filled.items() if rank not in snapshot.peers.gone and not view.silent]
    if not there:
        return snapshot.waiting, snapshot.running
    waiting = sum(view.waiting.value for view in there if view.waiting is not None)
    running = sum(view.running.value for view in there if view.running is not None)
    return waiting + (snapshot.waiting or 0), running + (snapshot.running or 0)


def _confirmed(snapshot: Snapshot, sources: SourcesView) -> WaveEvidence:
    """The wave, confirmed by the first rank whose number certainly grew after it had begun, if by nothing else."""
    wave = snapshot.wave
    begun = [at for at in (wave.asked_at, wave.announced_at) if at is not None]
    if wave.confirmed_at is not None or not begun or not snapshot.wave_coordination:
        return wave
    for rank, view in sorted(sources.ranks.items()):
        beat = view.heartbeat
        if beat is not None and beat.grew_after is not None and beat.grew_after >= max(begun):
            return replace(wave, confirmed_at=beat.grew_at, confirmed_by=f"rank {rank}, which makes {beat.unit}")
    return wave
