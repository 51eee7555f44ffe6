"""What leaves the core of its state: the journal's record, and the snapshot that viewers sample."""

from __future__ import annotations

from dp_coordinator.core import load, manual, observation, recovery
from dp_coordinator.core.snapshot import Remembered, Snapshot
from dp_coordinator.core.state import CoreState


def remembered(state: CoreState) -> Remembered:
    """What must outlive the process."""
    return Remembered(state.waves.current_wave, state.engine_count, state.ready)


def snapshot(state: CoreState, now: float) -> Snapshot:
    """The state as it is now, frozen."""
    table, log = state.load, state.log
    reported = any(at is not None for at in table.reported_at)
    blocked = manual.blocked(state)
    return Snapshot(
        at=now,
        dialect=state.dialect,
        wave_coordination=state.wave_coordination,
        ready=state.ready,
        current_wave=state.waves.current_wave,
        engines_running=state.waves.engines_running,
        phase=log.phase,
        phase_since=log.phase_since,
        asked_at=None if log.open is None else log.open.asked_at,
        stepping=() if log.open is None else tuple(sorted(log.open.stepping)),
        start_blocked=None if blocked is None else blocked[1],
        engine_count=state.engine_count,
        engines_subscribed=state.engines_subscribed,
        front_ends=state.front_ends,
        waiting=table.total_waiting if reported else None,
        running=table.total_running if reported else None,
        engines=load.columns(table),
        waves=observation.records(state),
        actions=manual.records(state.manual),
        recovery=recovery.view(state),
    )
