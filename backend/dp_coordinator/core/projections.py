"""What leaves the core of its state: the journal's record, and the snapshot that viewers sample."""

from __future__ import annotations

from dp_coordinator.core import load, manual, observation, recovery
from dp_coordinator.core.snapshot import PeersView, Remembered, Snapshot
from dp_coordinator.core.state import CoreState


def remembered(state: CoreState) -> Remembered:
    """What must outlive the process."""
    return Remembered(state.waves.current_wave, state.engine_count, state.ready)


def snapshot(state: CoreState, there: PeersView, now: float) -> Snapshot:
    """The state as it is now, frozen."""
    table, log = state.load, state.log
    reported = load.reported(table)
    blocked = manual.blocked(state, there)
    left = [table.counts[engine] for engine in there.gone]
    return Snapshot(
        at=now,
        dialect=state.dialect,
        wave_coordination=state.wave_coordination,
        ready=state.ready,
        current_wave=state.waves.current_wave,
        engines_running=state.waves.engines_running,
        state=log.state,
        state_since=log.state_since,
        wave=observation.shown(state),
        start_blocked=None if blocked is None else blocked[1],
        engine_count=state.engine_count,
        engines_subscribed=there.engines,
        front_ends=state.peers.front_ends,
        peers=there,
        peers_version=state.peers.changes,
        waiting=table.total_waiting - sum(waiting for waiting, _, _ in left) if reported else None,
        running=table.total_running - sum(running for _, running, _ in left) if reported else None,
        engines=load.columns(table),
        waves=observation.records(state),
        actions=manual.records(state.manual),
        recovery=recovery.view(state),
    )
