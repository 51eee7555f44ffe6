"""Wave messages: when they are taken, what the table (waves.py) makes of them, and in which order that goes out."""

from __future__ import annotations

from collections.abc import Sequence

from dp_coordinator.core import load, manual, observation, recovery, waves, witnesses
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.effects import Effect, PublishWaveState, Reject
from dp_coordinator.core.events import NewRequestNotified, StartWaveRequested, WaveCompleted, WaveMessage
from dp_coordinator.core.observation import Evidence
from dp_coordinator.core.records import completion_record, outcome_record
from dp_coordinator.core.snapshot import WaveCause
from dp_coordinator.core.state import CoreState, WaveSaid
from dp_coordinator.core.waves import Outcome


def take(
    state: CoreState,
    dialect: Dialect,
    message: WaveMessage,
    event: WaveCompleted | StartWaveRequested | NewRequestNotified,
    now: float,
) -> Sequence[Effect]:
    """A wave message came."""
    if not state.wave_coordination:
        return ()
    if message is WaveMessage.NEW_REQUEST and not dialect.notices_accepted:
        return (Reject("notice_not_spoken", "front-ends of vLLM 0.33 and later send no new-request notices"),)
    said = WaveSaid(message, event.wave, event.engine_index, now)
    if (refusal := witnesses.refusal(state, said)) is not None:
        return (refusal,)
    if not state.ready:
        # An engine's first message must be READY (core.py, `process_input_sockets`, asserts it), so START cannot go out
        # yet; and the message must not be lost. In vLLM such messages wait in the socket.
        witnesses.hold(state, said)
        return ()
    if not witnesses.believed(state, said):
        witnesses.hold(state, said)
        return (witnesses.doubt(state, said),)
    state.held.pop(witnesses.source(said), None)  # it holds for what that rank said before
    return (*_move(state, dialect, said, now), *release(state, dialect, now))


def release(state: CoreState, dialect: Dialect, now: float) -> Sequence[Effect]:
    """Take of what is held all that can be taken by now: READY was sent, the wave moved, or ranks reported."""
    effects: list[Effect] = []
    waiting = list(state.held.items())
    while waiting:
        left: list[tuple[tuple[bool, int | None], WaveSaid]] = []
        for source, said in waiting:
            if witnesses.believed(state, said):
                del state.held[source]
                effects.extend(_move(state, dialect, said, now))
            else:
                left.append((source, said))
        if len(left) == len(waiting):
            break
        waiting = left  # what was taken may have brought them within reach
    return effects


def saw(state: CoreState, seen: Evidence, now: float) -> Sequence[Effect]:
    """An engine's message shows something of a wave: of the open one, and of one that was started by hand."""
    observation.saw(state, seen, now)
    observed = manual.saw(state.manual, seen, now)
    return () if observed is None else (outcome_record(observed),)


def _move(state: CoreState, dialect: Dialect, said: WaveSaid, now: float) -> Sequence[Effect]:
    """Do what the table says, in the order in which others wait for it.

    START first: an engine waits in its step until all have it. Then the wave state: front-ends send notices until
    they have it. What is only written down comes last.
    """
    message, wave, engine_index = said[:3]
    moved = waves.apply(waves.rules(dialect), state.waves, message, wave, engine_index)
    if message is WaveMessage.NEW_REQUEST:
        # Also while the engines run: a front-end that sends one has not heard of it.
        load.noticed(state.load, now)
    cause = WaveCause.FRONT_END if message is WaveMessage.NEW_REQUEST else WaveCause.ENGINE
    effects: list[Effect] = []
    if moved.start is not None:
        asked, exclude = moved.start
        effects.extend(observation.ask(state, asked, now, cause=cause, engine=engine_index, exclude=exclude))
    if moved.announce:
        effects.append(PublishWaveState(state.waves.current_wave, state.waves.engines_running))
    if moved.outcome is Outcome.COMPLETE:
        effects.extend(_completed(state, wave, engine_index, now))
        # Last: the START that this may bring out is of the wave after the one that has just been closed.
        effects.extend(recovery.settle(state, now))
    elif message is WaveMessage.WAVE_COMPLETE:
        # Too late to move anything, but the wave it ends was not broken off, as it had seemed.
        late = observation.completed_late(state.log, wave)
        effects.extend(() if late is None else (completion_record(late, engine_index),))
    elif state.waves.engines_running and moved.announce:
        effects.append(observation.started(state, cause, engine_index, now))
    if message is WaveMessage.START_WAVE and engine_index is not None and 0 <= engine_index < state.engine_count:
        # Its sender is in the wave, by its own word; the others are only asked to join.
        effects.extend(saw(state, Evidence(engine_index, wave), now))
    return effects


def _completed(state: CoreState, wave: int, engine_index: int | None, now: float) -> Sequence[Effect]:
    # Rank 0 says it after an all-reduce (core.py, `_has_global_unfinished_reqs`): every rank was in that wave.
    observed = saw(state, Evidence(None, wave, confirmed_by="the wave's end"), now)
    return (*observed, completion_record(observation.completed(state, wave, now), engine_index))
