"""Reports of load: the hot path, and the little that is more than a change of load."""

from __future__ import annotations

from collections.abc import Sequence

from dp_coordinator.core import load, moving, observation, scaling, whose, witnesses
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.effects import Effect, LogEvent
from dp_coordinator.core.events import EngineStatsReported
from dp_coordinator.core.records import counters_reset_record, no_such_engine
from dp_coordinator.core.state import CoreState

_NOTHING: tuple[Effect, ...] = ()


def take(state: CoreState, dialect: Dialect, reports: Sequence[EngineStatsReported], now: float) -> Sequence[Effect]:
    """Take reports that arrived one after the other.

    A report is looked at for more than its counts only while somebody waits for evidence: a manual start, a wave that
    is not confirmed, or a wave message that has no second witness.
    """
    count = state.engine_count
    notable, beyond = load.take(state.load, reports, now)
    if beyond:  # or too early, or too late
        reports = [r for r in reports if 0 <= r.engine_index < count]
    wave = state.log.open
    watching = state.manual.pending is not None or (wave is not None and wave.confirmed_at is None)
    if not beyond and not notable and not watching and not state.held:
        return _NOTHING
    effects: list[Effect] = [no_such_engine(r, count) for r in scaling.strangers(state, beyond, now)]
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
    effects.extend(record for each in notable for record in _notable(state, *each))
    return effects


def _notable(
    state: CoreState, report: EngineStatsReported, before: tuple[int, int] | None, heard_at: float | None
) -> Sequence[Effect]:
    """A first report, or one that goes back: by a connection made since, its engine was restarted."""
    engine = report.engine_index
    if before is None or heard_at is None:
        return (LogEvent("engine_first_report", {"engine": engine}),)
    if engine in state.peers.rivals:
        return ()  # two report as it in turn, and neither counts anew
    since = whose.reporter(state.peers, engine)
    if since is None or since.since <= heard_at:
        return (counters_reset_record(report, before),)
    state.load.restarts[engine] += 1
    return (LogEvent("engine_replaced", {"engine": engine, "peer": since.peer.name}),)
