"""Every wave transition lives here. This file knows nothing of sockets, threads or clocks.

A wave message carries a wave number `w`. What happens depends only on how `w` compares with the coordinator's
current wave and on whether the engines run, so that the rules are one finite table.
Source: vllm/v1/engine/coordinator.py, `process_input_socket`, vLLM 0.10.2 to 0.33.0.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from dp_coordinator.core.dialect import Dialect


class Message(Enum):
    """The three inputs that can move the wave."""

    NEW_REQUEST = "new-request notice"
    WAVE_COMPLETE = "wave_complete"
    START_WAVE = "start_wave"

    __hash__ = object.__hash__  # Enum's own is a Python function, and START waits for it


class Relation(Enum):
    """How the message's wave compares with the coordinator's current wave."""

    BEHIND = "behind"
    EQUAL = "equal"
    AHEAD = "ahead"

    __hash__ = object.__hash__


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


_R, _O = Relation, Outcome

_ENGINE_RULES: dict[tuple[Message, Relation, bool], Outcome] = {
    (Message.WAVE_COMPLETE, _R.BEHIND, False): _O.IGNORE,
    (Message.WAVE_COMPLETE, _R.BEHIND, True): _O.IGNORE,
    (Message.WAVE_COMPLETE, _R.EQUAL, False): _O.COMPLETE,
    (Message.WAVE_COMPLETE, _R.EQUAL, True): _O.COMPLETE,
    (Message.WAVE_COMPLETE, _R.AHEAD, False): _O.COMPLETE,
    (Message.WAVE_COMPLETE, _R.AHEAD, True): _O.COMPLETE,
    (Message.START_WAVE, _R.BEHIND, False): _O.IGNORE,
    (Message.START_WAVE, _R.BEHIND, True): _O.IGNORE,
    (Message.START_WAVE, _R.EQUAL, False): _O.JOIN,
    (Message.START_WAVE, _R.EQUAL, True): _O.IGNORE,
    (Message.START_WAVE, _R.AHEAD, False): _O.JOIN,
    (Message.START_WAVE, _R.AHEAD, True): _O.JOIN,
}


def _notice_rules(stale: Outcome, timely: Outcome, running: Outcome) -> dict[tuple[Message, Relation, bool], Outcome]:
    return {
        (Message.NEW_REQUEST, _R.BEHIND, False): stale,
        (Message.NEW_REQUEST, _R.BEHIND, True): running,
        (Message.NEW_REQUEST, _R.EQUAL, False): timely,
        (Message.NEW_REQUEST, _R.EQUAL, True): running,
        (Message.NEW_REQUEST, _R.AHEAD, False): timely,
        (Message.NEW_REQUEST, _R.AHEAD, True): running,
    }


_NOTICE_SETS_RUNNING = _ENGINE_RULES | _notice_rules(_O.START_ALL, _O.START_OTHERS, _O.IGNORE)
_NOTICE_ONLY_ASKS = _ENGINE_RULES | _notice_rules(_O.ASK_ALL, _O.ASK_OTHERS, _O.IGNORE)
_NO_NOTICES = _ENGINE_RULES | _notice_rules(_O.REJECT, _O.REJECT, _O.REJECT)


def rules(dialect: Dialect) -> dict[tuple[Message, Relation, bool], Outcome]:
    """The transition table of a vLLM generation: (message, its wave against ours, engines running) -> outcome."""
    if not dialect.notices_accepted:
        return _NO_NOTICES
    return _NOTICE_SETS_RUNNING if dialect.notice_sets_running else _NOTICE_ONLY_ASKS


def relation(wave: int, current_wave: int) -> Relation:
    """How a message's wave compares with the current one."""
    if wave == current_wave:
        return Relation.EQUAL
    return Relation.BEHIND if wave < current_wave else Relation.AHEAD


class Transition(NamedTuple):
    """The table's answer for one message, worked out."""

    outcome: Outcome
    current_wave: int
    engines_running: bool
    start: tuple[int, int | None] | None
    """START to broadcast: (wave, engine to exclude or None)."""
    announce: bool
    """Whether front-ends are told of the wave state at once."""


class WaveState:
    """current_wave and engines_running, moved only through the table."""

    __slots__ = ("_rules", "current_wave", "engines_running")

    def __init__(self, dialect: Dialect) -> None:
        self._rules = rules(dialect)
        self.current_wave = 0
        self.engines_running = False

    def apply(self, message: Message, wave: int, engine_index: int | None) -> Transition:
        """Move the state by one message and say what must be sent."""
        outcome = self._rules[message, relation(wave, self.current_wave), self.engines_running]
        start: tuple[int, int | None] | None = None
        announce = False
        match outcome:
            case Outcome.START_ALL | Outcome.START_OTHERS:
                self.engines_running = announce = True
                start = (self.current_wave, engine_index if outcome is Outcome.START_OTHERS else None)
            case Outcome.ASK_ALL | Outcome.ASK_OTHERS:
                start = (self.current_wave, engine_index if outcome is Outcome.ASK_OTHERS else None)
            case Outcome.JOIN:
                self.current_wave, self.engines_running, announce = wave, True, True
                start = (wave, engine_index)
            case Outcome.COMPLETE:
                self.current_wave, self.engines_running, announce = wave + 1, False, True
            case Outcome.IGNORE | Outcome.REJECT:
                pass
        return Transition(outcome, self.current_wave, self.engines_running, start, announce)
