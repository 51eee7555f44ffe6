"""The event log's entries that need some working out."""

from __future__ import annotations

from dp_coordinator.core.effects import LogEvent, Reject
from dp_coordinator.core.events import EngineStatsReported
from dp_coordinator.core.snapshot import ActionState, StartAction, Wave


def no_such_engine(report: EngineStatsReported, engine_count: int) -> Reject:
    """A report of an engine that does not exist."""
    return Reject(
        "index_out_of_range", f"engine {report.engine_index} reported, but engines are 0 to {engine_count - 1}"
    )


def counters_reset_record(report: EngineStatsReported, before: tuple[int, int]) -> LogEvent:
    """A report that goes back (`before` is the (wave, step) it falls behind) by the connection that said that.

    A process counts anew after elastic scaling, or a `retry` of the fault-tolerance layer (vLLM 0.32).
    """
    was = {"engine": report.engine_index, "from_wave": before[0], "from_step": before[1]}
    return LogEvent("engine_counters_reset", {**was, "wave": report.current_wave, "step": report.step_counter})


def completion_record(wave: Wave, engine_index: int | None) -> LogEvent:
    """The end of a wave, with how long it took."""
    began = wave.asked_at if wave.asked_at is not None else wave.started_at
    fields: dict[str, object] = {"wave": wave.number, "engine": engine_index, "cause": wave.cause.value}
    fields["duration_s"] = None if began is None or wave.ended_at is None else wave.ended_at - began
    return LogEvent("wave_completed", fields)


def outcome_record(action: StartAction) -> LogEvent:
    """What became of a manual start."""
    took = None if action.finished_at is None else action.finished_at - action.asked_at
    fields: dict[str, object] = {"action": action.id, "wave": action.wave}
    if action.state is ActionState.OBSERVED:
        return LogEvent(
            "manual_start_observed",
            fields | {"joined": len(action.joined), "took_s": took, "confirmed_by": action.confirmed_by},
        )
    if action.state is ActionState.CANNOT_TELL:
        return LogEvent("manual_start_unclear", fields | {"joined": len(action.joined), "of": action.engine_count})
    return LogEvent("manual_start_timed_out", fields | {"silent": list(action.silent)})
