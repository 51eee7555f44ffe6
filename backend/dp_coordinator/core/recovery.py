"""Coming back after a crash without losing a wake-up.

Messages that were inside the dead process are lost: perhaps a new-request notice, perhaps a START, perhaps a
wave_complete. An exhaustive search over engines, front-ends and channels found this rule safe for any single lost
inbound message and any lost outbound ones (tests/core/test_recovery_search.py repeats it on this code):

1. `current_wave` is journalled before a change of it is announced.
2. Come back with the journalled wave, paused. Before vLLM 0.18 engines are sent no READY again: a second one kills
   their input thread (vllm/v1/engine/core.py, `process_input_sockets`). From 0.18 on they ignore it, and every
   subscriber is sent one, as always: the dead process may have taken the first along.
3. When all engines have subscribed again, broadcast START(current_wave) to all, and stay paused.
4. When the first wave_complete after that is accepted, broadcast START(the new wave) to all once more.

The wave is never raised to be safe: the engines' own waves would drift apart, and a request be stranded.

One that died before READY comes back as if nothing had been. So a notice that was there before READY, of an API server
that began before the engines did, is lost with it; the current wave, started by hand, frees that request.
"""

from __future__ import annotations

from collections.abc import Sequence

from dp_coordinator.core import load, observation, whose
from dp_coordinator.core.effects import Effect, LogEvent
from dp_coordinator.core.snapshot import RecoveryPhase, RecoveryState, Remembered, WaveCause
from dp_coordinator.core.state import CoreState, Recovery


def resume(state: CoreState, remembered: Remembered, now: float) -> None:
    """Come back with what an earlier incarnation wrote down last."""
    state.waves.current_wave = remembered.current_wave
    if remembered.ready:
        state.ready = True
        load.resume(state.load, now)
        state.recovery = Recovery(remembered.current_wave, now)


def rejoin(state: CoreState, now: float) -> Sequence[Effect]:
    """An engine subscribed, or fewer are expected: START goes out once all are back.

    Not before: those that it reaches would step, and wait in that step for the ones that it does not reach. And
    engines_running stays false, for nobody knows what the engines do: those that were paused step once now and say
    wave_complete, and those that run ignore it.
    """
    recovery = state.recovery
    if recovery is None or recovery.phase is not RecoveryPhase.REJOINING:
        return ()
    if whose.engines(state.peers) < state.engine_count:
        return ()
    wave = state.waves.current_wave
    recovery.phase, state.start_again = RecoveryPhase.SETTLING, WaveCause.RECOVERY
    record = LogEvent("engines_rejoined", {"engines": state.engine_count, "wave": wave})
    if not state.wave_coordination:  # there is nothing to start, and this is the end
        state.start_again = None
        _finish(recovery, now)
        return (record,)
    return (record, *observation.ask(state, wave, now, cause=WaveCause.RECOVERY))


def mend(state: CoreState, now: float) -> Sequence[Effect]:
    """A member's connection was made again, and what was on its way on the lost one is lost.

    A START, or a message that asks for one: nobody tells which, so this is a crash in small, with the same answer.
    libzmq makes it again and subscribes by itself, and the engine does not know (vllm/v1/engine/core.py,
    `process_input_sockets`, subscribes once). START goes to all, for a publication cannot be addressed; to those that
    run it says nothing (core.py, `_handle_client_request`). Once more after the next wave_complete, as above; and also
    while engines_running is not set: from vLLM 0.29 on a notice does not set it, and its START may be what was lost.
    What remains is the same, too (wave_complete and the start_wave after it, both lost), and so is its way out.
    """
    if not (state.ready and state.wave_coordination and whose.engines(state.peers) >= state.engine_count):
        return ()  # engines are missing still: the last of them brings it
    state.start_again = state.start_again or WaveCause.RECONNECTION
    return observation.ask(state, state.waves.current_wave, now, cause=WaveCause.RECONNECTION)


def settle(state: CoreState, now: float) -> Sequence[Effect]:
    """wave_complete was accepted: the first one after START is answered with another.

    It may be of the wave before the crash, and was still queued when START went out: then engines ignored that START as
    behind, and a notice that the crash took is still unanswered.
    """
    cause, state.start_again = state.start_again, None
    if cause is None:
        return ()
    wave, recovery = state.waves.current_wave, state.recovery
    asked = observation.ask(state, wave, now, cause=cause)
    if recovery is None or recovery.phase is not RecoveryPhase.SETTLING:
        return asked
    return (*asked, LogEvent("recovery_finished", {"wave": wave, "took_s": _finish(recovery, now)}))


def _finish(recovery: Recovery, now: float) -> float:
    """Everything is as if nothing had happened; returns how long it took, in seconds."""
    recovery.phase, recovery.finished_at = RecoveryPhase.DONE, now
    return now - recovery.resumed_at


def view(state: CoreState) -> RecoveryState | None:
    """The same for viewers."""
    recovery = state.recovery
    if recovery is None:
        return None
    return RecoveryState(
        phase=recovery.phase,
        resumed_wave=recovery.resumed_wave,
        resumed_at=recovery.resumed_at,
        engines_back=whose.engines(state.peers),
        engines_expected=state.engine_count,
        finished_at=recovery.finished_at,
    )
