"""Reports of load: the hot path, and the little that is more than a change of load."""

from __future__ import annotations

from collections.abc import Sequence

from dp_coordinator.core import load, moving, observation, scaling, witnesses
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.effects import Effect
from dp_coordinator.core.events import EngineStatsReported
from dp_coordinator.core.records import no_such_engine, notable_record
from dp_coordinator.core.state import CoreState

_NOTHING: tuple[Effect, ...] = ()


def take(state: CoreState, dialect: Dialect, reports: Sequence[EngineStatsReported], now: float) -> Sequence[Effect]:
    """Take reports that arrived one after the other.

    A report is looked at for more than its counts only while somebody waits for evidence: a manual start, a wave that
    is not confirmed, or a wave message that has no second witness.
    """
    count = state.engine_count
    rejected = [r for r in reports if not 0 <= r.engine_index < count]  # or too early, or too late
    if rejected:
        reports = [r for r in reports if 0 <= r.engine_index < count]
    notable = load.take(state.load, reports, now)
    wave = state.log.open
    watching = state.manual.pending is not None or (wave is not None and wave.confirmed_at is None)
    if not rejected and not notable and not watching and not state.held:
        return _NOTHING
    effects: list[Effect] = [no_such_engine(r, count) for r in scaling.strangers(state, rejected, now)]
    if state.held:
        witnesses.second(state, reports)
        if state.ready:
            effects.extend(moving.release(state, dialect, now))
        watching = True
    if watching:
        for report in reports:
            seen = observation.evidence(report)
            if seen is not None:
                effects.extend(moving.saw(state, seen, now))
        observation.update(state, now)
    effects.extend(notable_record(report, before) for report, before in notable)
    return effects
