"""What was asked of the engines and what was seen of them, wave by wave. Kept apart, because neither implies the other.

START goes to engines that may be gone, behind, or paused by hand, and then discard it (vllm/v1/engine/core.py,
`DPEngineCoreProc._handle_client_request`). So asked is STARTING, and only what an engine itself said makes it RUNNING.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from dp_coordinator.core import load
from dp_coordinator.core.effects import BroadcastStartWave, Effect, LogEvent
from dp_coordinator.core.events import EngineStatsReported
from dp_coordinator.core.snapshot import Phase, Wave, WaveCause
from dp_coordinator.core.state import CoreState, OpenWave, WaveLog

WAVES_KEPT = 512
UNANSWERED_AFTER = 10.0
"""Seconds after which a START that nobody was seen to follow counts as unanswered."""


class Evidence(NamedTuple):
    """Ranks that stepped in a wave, or a later one."""

    ranks: Sequence[int]
    wave: int
    collective: bool
    """Something that takes every rank showed it."""


def evidence(report: EngineStatsReported, engine_count: int) -> Evidence | None:
    """What a report shows beside its counts (vllm/v1/engine/core.py, `DPEngineCoreProc.run_busy_loop`)."""
    if report.step_counter >= 1:
        # It counts the steps behind it in its wave. A step takes every rank, since each rank's experts serve all the
        # others: one rank that got past it proves it for all.
        return Evidence(range(engine_count), report.current_wave, collective=True)
    if report.running >= 1:
        # Reports go out before a step and after it. Before the first one this rank is about to step, and may wait there
        # for the others.
        return Evidence((report.engine_index,), report.current_wave, collective=False)
    return None  # a request that waits has not been taken up


def ask(
    state: CoreState, wave: int, now: float, *, cause: WaveCause, engine: int | None = None, exclude: int | None = None
) -> Sequence[Effect]:
    """Broadcast START for a wave; it is logged when that opens it, and not when it was open already.

    `engine` is named by the message that caused it; `exclude` has the request already, and needs no START.
    """
    log = state.log
    opened = _ensure(state, wave, cause, engine, now)
    if log.open is not None and log.open.asked_at is None:
        log.open.asked_at = now
    log.asked_again_at = now
    _update_phase(log, now)
    start = BroadcastStartWave(wave, exclude, cause)
    if not opened:
        return (start,)
    return (start, LogEvent("wave_asked", {"wave": wave, "cause": cause.value, "engine": engine, "excluded": exclude}))


def started(state: CoreState, cause: WaveCause, engine: int | None, now: float) -> Effect:
    """engines_running was set for the current wave."""
    log, number = state.log, state.waves.current_wave
    _ensure(state, number, cause, engine, now)
    if log.open is not None and log.open.started_at is None:
        log.open.started_at = now
    _update_phase(log, now)
    return LogEvent("wave_started", {"wave": number, "cause": cause.value, "engine": engine})


def saw_stepping(state: CoreState, seen: Evidence, now: float) -> None:
    """Ranks were seen stepping. Of an earlier wave that says nothing about the open one: reports can be late."""
    log = state.log
    if log.open is not None and seen.wave >= log.open.number:
        for rank in seen.ranks:
            log.open.stepping.setdefault(rank, now)
        log.open.all_seen = len(log.open.stepping) >= state.engine_count
        _update_phase(log, now)


def completed(state: CoreState, number: int, now: float) -> Wave:
    """wave_complete was accepted for a wave; returns its record."""
    log = state.log
    if log.open is not None and log.open.number != number:
        _close(state, now, completed=False)
    if log.open is None:
        _ensure(state, number, WaveCause.UNKNOWN, None, now)
    return _close(state, now, completed=True)


def completed_late(log: WaveLog, number: int) -> Wave | None:
    """wave_complete for a wave that a later one had overtaken: channels of different engines have no order.

    Returns its record, which ends where the later wave began; None when that wave was not the one overtaken.
    """
    if not log.closed or log.closed[-1].number != number or log.closed[-1].completed:
        return None
    late = replace(log.closed[-1], completed=True)
    log.closed = (*log.closed[:-1], late)
    return late


def stopped(state: CoreState, now: float) -> None:
    """engines_running was dropped without wave_complete (growth before vLLM 0.18), or nobody answered a START."""
    if state.log.open is not None:
        _close(state, now, completed=False)


def unanswered_deadline(log: WaveLog) -> float | None:
    """When the open wave counts as unanswered: asked for, not announced as running, no rank seen."""
    wave = log.open
    if wave is None or log.asked_again_at is None or wave.started_at is not None or wave.stepping:
        return None
    return log.asked_again_at + UNANSWERED_AFTER


def records(state: CoreState) -> tuple[Wave, ...]:
    """All waves held, oldest first, the open one last."""
    closed, wave = state.log.closed, state.log.open
    return closed if wave is None else (*closed, _record(state, wave, None, completed=False))


def _ensure(state: CoreState, number: int, cause: WaveCause, engine: int | None, now: float) -> bool:
    """Have this wave open, whatever was open before; True when it was not."""
    log = state.log
    if log.open is not None:
        if log.open.number == number:
            return False
        _close(state, now, completed=False)
    log.open = OpenWave(number, cause, engine)
    load.restart_peaks(state.load)
    return True


def _record(state: CoreState, wave: OpenWave, ended_at: float | None, *, completed: bool) -> Wave:
    return Wave(
        number=wave.number,
        cause=wave.cause,
        cause_engine=wave.cause_engine,
        asked_at=wave.asked_at,
        started_at=wave.started_at,
        ended_at=ended_at,
        completed=completed,
        peak_waiting=state.load.peak_waiting,
        peak_running=state.load.peak_running,
    )


def _close(state: CoreState, now: float, *, completed: bool) -> Wave:
    log = state.log
    assert log.open is not None
    record = _record(state, log.open, now, completed=completed)
    log.closed = (*log.closed, record)[-WAVES_KEPT:]
    log.open, log.asked_again_at = None, None
    _update_phase(log, now)
    return record


def _update_phase(log: WaveLog, now: float) -> None:
    wave = log.open
    if wave is None:
        phase = Phase.PAUSED
    elif wave.all_seen or (wave.stepping and wave.started_at is not None):
        # Before an engine announced the wave one rank is not enough: it may be alone in its step, and wait for ranks
        # that never got the START. That must not look like running.
        phase = Phase.RUNNING
    else:
        phase = Phase.STARTING
    if phase is not log.phase:
        log.phase, log.phase_since = phase, now
