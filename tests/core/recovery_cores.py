"""The real core as a table of states and what each does, for the search in tests/core/test_recovery_search.py."""

from __future__ import annotations

import copy
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.effects import (
    BroadcastStartWave,
    Effect,
    PublishLoad,
    PublishWaveState,
    SendReady,
    WriteJournal,
)
from dp_coordinator.core.events import (
    EngineSubscribed,
    Event,
    FrontEndSubscribed,
    ManualStartRequested,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.recovery import Remembered
from dp_coordinator.core.snapshot import WaveCause

Message: TypeAlias = tuple[str, int, int]
"""To the coordinator: what, which engine, which wave."""
Start: TypeAlias = tuple[int, "int | None"]
Publication: TypeAlias = tuple[int, bool]

FRONT_END_SUBSCRIBES: Message = ("front-end", 0, 0)
EVENTS: dict[str, Any] = {
    "front-end": lambda *_: FrontEndSubscribed(),
    "notice": NewRequestNotified,
    "wave_complete": WaveCompleted,
    "start_wave": StartWaveRequested,
    "manual": lambda _, wave: ManualStartRequested("nothing moves", "search", wave=wave),
}


class Rule(Enum):
    """What a coordinator that comes back does."""

    OURS = "recover as the core does"
    NOTHING = "send no START"
    ONE_START = "send no START after the first wave_complete"
    RAISED = "come back one wave higher"


class Reaction(NamedTuple):
    """What the core makes of one input."""

    core: int
    starts: tuple[Start, ...] = ()
    published: tuple[Publication, ...] = ()


class Cores:
    """The core's states by number. What each does about an input is asked of the real core once, then remembered."""

    def __init__(self, dialect: str, engines: int, rule: Rule) -> None:
        self._dialect, self._engines, self._rule = Dialect.for_version(dialect), engines, rule
        self._known: dict[Any, int] = {}
        self._cores: list[tuple[Coordinator, Remembered]] = []
        self._reactions: dict[tuple[int, Message | None], Reaction] = {}
        self._resumed: dict[int, int] = {}
        self._loads: dict[int, Publication] = {}
        core = Coordinator(engines, self._dialect)
        written = Remembered(0, engines, False)
        for _ in range(engines):
            written = _written(core.handle(EngineSubscribed(), 0.0), written)
        self.first = self._number(core, written)

    def _number(self, core: Coordinator, written: Remembered) -> int:
        key = (core.current_wave, core.engines_running, core.engines_subscribed, str(core._recovery_state()), written)
        if key not in self._known:
            self._known[key] = len(self._cores)
            self._cores.append((core, written))
        return self._known[key]

    def wave(self, number: int) -> int:
        return self._cores[number][0].current_wave

    def describe(self, number: int) -> str:
        core = self._cores[number][0]
        recovery = core.snapshot(0.0).recovery
        phase = "first incarnation" if recovery is None else recovery.phase.value
        return f"wave {core.current_wave} {'running' if core.engines_running else 'paused'} ({phase})"

    def react(self, number: int, message: Message | None) -> Reaction:
        """Take a message; None is an engine's subscription."""
        known = self._reactions.get((number, message))
        if known is None:
            known = self._reactions[number, message] = self._ask(number, message)
        return known

    def _ask(self, number: int, message: Message | None) -> Reaction:
        core, written = self._cores[number]
        core, before = copy.deepcopy(core), core.current_wave
        event: Event = EngineSubscribed() if message is None else EVENTS[message[0]](*message[1:])
        effects = core.handle(event, 0.0)
        assert core.current_wave >= before, f"{event} takes wave {before} back to {core.current_wave}"
        assert self._dialect.ready_to_late_subscribers or SendReady() not in effects, "a second READY before 0.18"
        written = _written(effects, written)
        assert written.current_wave == core.current_wave, "a wave that is not written down"
        starts = tuple((e.wave, e.exclude_engine_index) for e in effects if self._is_sent(e, message))
        published = tuple((e.current_wave, e.engines_running) for e in effects if isinstance(e, PublishWaveState))
        return Reaction(self._number(core, written), starts, published)

    def _is_sent(self, effect: Effect, message: Message | None) -> bool:
        if not isinstance(effect, BroadcastStartWave):
            return False
        if effect.cause is not WaveCause.RECOVERY:
            return True
        return not (self._rule is Rule.NOTHING or (self._rule is Rule.ONE_START and message is not None))

    def resume(self, number: int) -> int:
        """The one that comes back with what this one had written down."""
        if number not in self._resumed:
            written = self._cores[number][1]
            if self._rule is Rule.RAISED:
                written = Remembered(written.current_wave + 1, written.engine_count, written.ready)
            core = Coordinator(self._engines, self._dialect, resumed=written)
            self._resumed[number] = self._number(core, written)
        return self._resumed[number]

    def load(self, number: int) -> Publication:
        """The wave state in the next load publication; it goes out every five seconds at least."""
        if number not in self._loads:
            core = copy.deepcopy(self._cores[number][0])
            due = core.next_deadline()
            assert due is not None
            (load,) = [e for e in core.tick(due) if isinstance(e, PublishLoad)]
            self._loads[number] = (load.current_wave, load.engines_running)
        return self._loads[number]


def _written(effects: Any, before: Remembered) -> Remembered:
    return ([before] + [e.state for e in effects if isinstance(e, WriteJournal)])[-1]
