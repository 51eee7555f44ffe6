"""Every wave transition lives here. This file knows nothing of sockets, threads or clocks.

A wave message carries a wave number `w`. What happens depends only on how `w` compares with the coordinator's
current wave and on whether the engines run, so that the rules are one finite table.
Source: vllm/v1/engine/coordinator.py, `process_input_socket`, vLLM 0.10.2 to 0.33.0.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.events import WaveMessage
from dp_coordinator.core.state import Waves

LAST_WAVE = 2**32 - 1
"""Of all who read a wave, vLLM's Rust front-end has the least room: u32. Messages may name any before this one."""


class Relation(Enum):
    """How the message's wave compares with the coordinator's current wave."""

    BEHIND = "behind"
    EQUAL = "equal"
    AHEAD = "ahead"

    __hash__ = object.__hash__  # Enum's own is a Python function, and START waits for it


class Outcome(Enum):
    """What the coordinator does."""

    IGNORE = "ignore"
    START_ALL = "running; START(current wave) to all; announce"
    START_OTHERS = "running; START(current wave) to all but the named engine; announce"
    JOIN = "current wave = w, running; START(w) to all but the sender; announce"
    ASK_ALL = "START(current wave) to all; nothing else changes"
    ASK_OTHERS = "START(current wave) to all but the named engine; nothing else changes"
    COMPLETE = "current wave = w + 1, paused; announce"
    REJECT = "an error: counted and dropped"


Rules: TypeAlias = dict[tuple[WaveMessage, Relation, bool], Outcome]
"""(message, its wave against ours, engines running) -> what happens."""
_R, _O = Relation, Outcome

# Engines. The wave only grows: channels of different engines have no order, so a message of a wave that is over says
# nothing new. One that is ahead is taken at its word: an engine raises its wave to that of a request (core.py,
# `DPEngineCoreProc.add_request`), and what happened in between may be still under way, or lost in a crash.
# wave_complete counts whatever we believed: a pause ends waves that nobody started (core.py, `_pause_complete`).
_ENGINE_RULES: Rules = {
    (WaveMessage.WAVE_COMPLETE, _R.BEHIND, False): _O.IGNORE,
    (WaveMessage.WAVE_COMPLETE, _R.BEHIND, True): _O.IGNORE,
    (WaveMessage.WAVE_COMPLETE, _R.EQUAL, False): _O.COMPLETE,
    (WaveMessage.WAVE_COMPLETE, _R.EQUAL, True): _O.COMPLETE,
    (WaveMessage.WAVE_COMPLETE, _R.AHEAD, False): _O.COMPLETE,
    (WaveMessage.WAVE_COMPLETE, _R.AHEAD, True): _O.COMPLETE,
    (WaveMessage.START_WAVE, _R.BEHIND, False): _O.IGNORE,
    (WaveMessage.START_WAVE, _R.BEHIND, True): _O.IGNORE,
    (WaveMessage.START_WAVE, _R.EQUAL, False): _O.JOIN,
    (WaveMessage.START_WAVE, _R.EQUAL, True): _O.IGNORE,
    (WaveMessage.START_WAVE, _R.AHEAD, False): _O.JOIN,
    (WaveMessage.START_WAVE, _R.AHEAD, True): _O.JOIN,
}


# Front-ends. Once the engines run a notice changes nothing: the engine that got the request steps with the others. In a
# notice that is behind, the front-end had not heard that its wave ended: the engine it names may have taken the request
# and come to the end of that wave, so that START is for it, too. One that is ahead cannot be, but for a front-end of
# another run, and is taken as timely.
def _notice_rules(stale: Outcome, timely: Outcome, running: Outcome) -> Rules:
    return {
        (WaveMessage.NEW_REQUEST, _R.BEHIND, False): stale,
        (WaveMessage.NEW_REQUEST, _R.BEHIND, True): running,
        (WaveMessage.NEW_REQUEST, _R.EQUAL, False): timely,
        (WaveMessage.NEW_REQUEST, _R.EQUAL, True): running,
        (WaveMessage.NEW_REQUEST, _R.AHEAD, False): timely,
        (WaveMessage.NEW_REQUEST, _R.AHEAD, True): running,
    }


# From 0.29 on an engine that was paused by hand discards START (core.py, `ignore_start_dp_wave`). Having sent it is no
# evidence, so only an engine's own start_wave sets engines_running: front-ends that were told "running" would send no
# notices, and their requests would hang.
_NOTICE_SETS_RUNNING = _ENGINE_RULES | _notice_rules(_O.START_ALL, _O.START_OTHERS, _O.IGNORE)
_NOTICE_ONLY_ASKS = _ENGINE_RULES | _notice_rules(_O.ASK_ALL, _O.ASK_OTHERS, _O.IGNORE)
_NO_NOTICES = _ENGINE_RULES | _notice_rules(_O.REJECT, _O.REJECT, _O.REJECT)


def rules(dialect: Dialect) -> Rules:
    """The transition table of a vLLM generation."""
    if not dialect.notices_accepted:
        return _NO_NOTICES
    return _NOTICE_SETS_RUNNING if dialect.notice_sets_running else _NOTICE_ONLY_ASKS


def relation(wave: int, current_wave: int) -> Relation:
    """How a message's wave compares with the current one."""
    if wave == current_wave:
        return Relation.EQUAL
    return Relation.BEHIND if wave < current_wave else Relation.AHEAD


class Transition(NamedTuple):
    """What follows from one message, beside the wave state as it is now."""

    outcome: Outcome
    start: tuple[int, int | None] | None
    """START to broadcast: (wave, engine to exclude or None)."""
    announce: bool
    """Whether front-ends are told of the wave state at once."""


def apply(table: Rules, waves: Waves, message: WaveMessage, wave: int, engine_index: int | None) -> Transition:
    """Move the state by one message and say what must be sent."""
    outcome = table[message, relation(wave, waves.current_wave), waves.engines_running]
    start: tuple[int, int | None] | None = None
    announce = False
    match outcome:
        case Outcome.START_ALL | Outcome.START_OTHERS:
            waves.engines_running = announce = True
            start = (waves.current_wave, engine_index if outcome is Outcome.START_OTHERS else None)
        case Outcome.ASK_ALL | Outcome.ASK_OTHERS:
            start = (waves.current_wave, engine_index if outcome is Outcome.ASK_OTHERS else None)
        case Outcome.JOIN:
            waves.current_wave, waves.engines_running, announce = wave, True, True
            start = (wave, engine_index)
        case Outcome.COMPLETE:
            waves.current_wave, waves.engines_running, announce = wave + 1, False, True
        case Outcome.IGNORE | Outcome.REJECT:
            pass
    return Transition(outcome, start, announce)
