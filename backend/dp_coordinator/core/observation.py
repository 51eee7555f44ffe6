"""What was asked of the engines and what was seen of them, wave by wave. Kept apart, because neither implies the other.

START goes to engines that may be gone, behind, or paused by hand, and then discard it (vllm/v1/engine/core.py,
`DPEngineCoreProc._handle_client_request`). So asked is STARTING, and only what an engine itself said makes it RUNNING.

What an engine says before its first step shows that it joined, and no more: it may wait in that step for ranks that
never got the START. Only a step behind it, or the wave's end, confirms that all step. An engine reports when its counts
change (`_maybe_publish_request_counts`): while one long request runs nothing can confirm the step, and that is normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from dp_coordinator.core import load
from dp_coordinator.core.effects import BroadcastStartWave, Effect, LogEvent
from dp_coordinator.core.events import EngineStatsReported
from dp_coordinator.core.snapshot import Wave, WaveCause, WaveEvidence
from dp_coordinator.core.state import CoreState, OpenWave, WaveLog
from dp_coordinator.words import DeploymentState, RecoveryPhase

WAVES_KEPT = 512
UNANSWERED_AFTER = 10.0
"""Seconds after which a START that nobody was seen to follow counts as unanswered."""


class Evidence(NamedTuple):
    """What an engine's message shows of a wave."""

    rank: int | None
    """Who joined it, by its own word."""
    wave: int
    working: bool = False
    """It has requests running in it."""
    confirmed_by: str | None = None
    """What shows that all ranks step, in words."""


def evidence(report: EngineStatsReported) -> Evidence | None:
    """What a report shows beside its counts (vllm/v1/engine/core.py, `DPEngineCoreProc.run_busy_loop`)."""
    rank, step = report.engine_index, report.step_counter
    if step >= 1:
        # It counts the steps behind it in its wave. A step takes every rank, since each rank's experts serve all the
        # others: one rank that got past it proves it for all.
        return Evidence(rank, report.current_wave, report.running >= 1, f"rank {rank}, step {step}")
    if report.running >= 1:
        # Reports go out before a step and after it. Before the first one this rank is about to step, and may wait there
        # for the others.
        return Evidence(rank, report.current_wave, working=True)
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
    return LogEvent("wave_started", {"wave": number, "cause": cause.value, "engine": engine})


def saw(state: CoreState, seen: Evidence, now: float) -> None:
    """Take up evidence. Of an earlier wave that says nothing about the open one: reports can be late."""
    wave = state.log.open
    if wave is None or seen.wave < wave.number:
        return
    if seen.rank is not None:
        wave.joined.setdefault(seen.rank, now)
    wave.working = wave.working or seen.working
    if seen.confirmed_by is not None and wave.confirmed_at is None:
        wave.confirmed_at, wave.confirmed_by = now, seen.confirmed_by


def unconfirm(state: CoreState, rank: int) -> None:
    """Another process takes a rank's place: that all step was shown of the one before, and it has not joined."""
    wave, table = state.log.open, state.load
    if wave is not None:
        for other, at in enumerate(table.reported_at):  # nobody looked who joins once a step was confirmed
            if at is not None and table.steps[other][0] >= wave.number and table.counts[other][1]:
                wave.joined.setdefault(other, at)
        wave.joined.pop(rank, None)
        wave.working = wave.working or wave.confirmed_at is not None  # it began, and has not ended
        wave.confirmed_at = wave.confirmed_by = None


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
    late = replace(log.closed[-1], completed=True, confirmed=True)
    log.closed = (*log.closed[:-1], late)
    return late


def stopped(state: CoreState, now: float) -> None:
    """engines_running was dropped without wave_complete (growth before vLLM 0.18), or nobody answered a START."""
    if state.log.open is not None:
        _close(state, now, completed=False)


def unanswered_deadline(log: WaveLog) -> float | None:
    """When the open wave counts as unanswered: asked for, not announced as running, joined by no rank."""
    wave = log.open
    if wave is None or log.asked_again_at is None or wave.started_at is not None or wave.joined:
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
        confirmed=completed or wave.confirmed_at is not None,
    )


def _close(state: CoreState, now: float, *, completed: bool) -> Wave:
    log = state.log
    assert log.open is not None
    record = _record(state, log.open, now, completed=completed)
    log.closed = (*log.closed, record)[-WAVES_KEPT:]
    log.open, log.asked_again_at = None, None
    return record


# -- what the deployment does ------------------------------------------------------------------------------------------


def shown(state: CoreState) -> WaveEvidence:
    """What is known of the open wave, for viewers."""
    wave = state.log.open
    if wave is None:
        return WaveEvidence(state.waves.current_wave)
    return WaveEvidence(
        wave.number, wave.asked_at, wave.started_at, tuple(sorted(wave.joined)), wave.confirmed_at, wave.confirmed_by
    )


def update(state: CoreState, now: float) -> None:
    """Say anew what the deployment does, after anything that it follows from may have changed."""
    log, word = state.log, _word(state)
    if word is not log.state:
        log.state, log.state_since = word, now


def _word(state: CoreState) -> DeploymentState:
    """The only place that judges it: whoever shows it, or raises an alarm about it, takes this word."""
    wave, recovery = state.log.open, state.recovery
    if not state.ready:
        return DeploymentState.WAITING
    if wave is None and recovery is not None and recovery.phase is RecoveryPhase.REJOINING:
        return DeploymentState.RECOVERING
    if not state.wave_coordination:
        return DeploymentState.SERVING
    if wave is None:
        return DeploymentState.PAUSED
    if wave.working or wave.confirmed_at is not None:
        return DeploymentState.RUNNING
    # Behind external load balancing engines report nothing: there is no better evidence to wait for.
    announced = wave.started_at is not None and not load.reported(state.load)
    return DeploymentState.RUNNING if announced else DeploymentState.STARTING
