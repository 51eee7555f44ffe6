"""The real core as a table of states and what each does, for the search in tests/core/test_recovery_search.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import msgspec

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
    CorrectionRequested,
    EngineCountChanged,
    EngineStatsReported,
    ManualStartRequested,
    NewRequestNotified,
    PeerConnected,
    PeerDisconnected,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.snapshot import Connection, Remembered, WaveCause
from dp_coordinator.words import Channel, Corrected
from tests.core.connections import connects, disconnects

Message: TypeAlias = tuple[str, int, int]
"""To the coordinator: what, which engine, which wave."""
Start: TypeAlias = tuple[int, "int | None"]
"""To engines: the wave, and which of them is to ignore it; or READY."""
READY: Start = (-1, None)
Publication: TypeAlias = tuple[int, bool]

CONNECTIONS = {"engine": Channel.BACK_PUBLISH, "output": Channel.BACK_OUTPUT, "front-end": Channel.FRONT_PUBLISH}
"""What connects: (one of these, its index, 1 after a drop). With `-` before it, the first connection of it ends."""


def _number_of(what: str, index: int, again: int) -> int:
    return list(CONNECTIONS).index(what) * 10 + index + 100 * again


def _come(what: str) -> Callable[[int, int], PeerConnected]:
    return lambda index, again: connects(
        CONNECTIONS[what], _number_of(what, index, again), host=f"{what} {index}", socket_type="XSUB"
    )


def _end(what: str) -> Callable[[int, int], PeerDisconnected]:
    return lambda index, _: disconnects(CONNECTIONS[what], _number_of(what, index, 0))


EVENTS: dict[str, Any] = {
    **{what: _come(what) for what in CONNECTIONS},
    **{f"-{what}": _end(what) for what in CONNECTIONS},
    "notice": NewRequestNotified,
    "wave_complete": WaveCompleted,
    "start_wave": StartWaveRequested,
    "manual": lambda _, wave: ManualStartRequested("nothing moves", "search", wave=wave),
    "report": lambda rank, wave: EngineStatsReported(rank, 1, 0, 0.0, 0, wave),
    "scale": lambda count, _: EngineCountChanged(count),
    "set wave": lambda wave, expected: CorrectionRequested(Corrected.WAVE, wave, expected, "it hangs", "search"),
    "set engines": lambda n, expected: CorrectionRequested(Corrected.ENGINE_COUNT, n, expected, "it hangs", "search"),
}


class Rule(Enum):
    """What a coordinator does that comes back, or that a connection comes back to."""

    OURS = "recover as the core does"
    NOTHING = "send no START"
    ONE_START = "send no START after the first wave_complete"
    RAISED = "come back one wave higher"
    JOURNAL_LAST = "write the journal after all that is sent"


class Reaction(NamedTuple):
    """What the core makes of one input."""

    core: int
    starts: tuple[Start, ...] = ()
    published: tuple[Publication, ...] = ()
    cut_short: tuple[Reaction, ...] = ()
    """The same, had it died after some of the effects, where that is not as if the newest of what it sent were lost."""


class _Over:
    """Stands for all waves that were over before the last one."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(
            f"a rule looks at the {name} of an earlier wave, by which the search tells no states apart"
        )


_OVER: Any = _Over()


def _as_if_first(connected: dict[int, Connection]) -> dict[int, Connection]:
    """Sorted; a connection that was made again is as good as the one that it took the place of, once that has ended."""
    numbers = {number: number % 100 if number % 100 not in connected else number for number in connected}
    return {
        numbers[number]: replace(each, peer=replace(each.peer, id=numbers[number]))
        for number, each in sorted(connected.items())
    }


class Cores:
    """The core's states by number. What each does about an input is asked of the real core once, then remembered.

    Two states are the same when everything in them is (times are: all happens at 0.0), but for the order in which peers
    came, and for waves that were over
    before the last one. By those, states would differ that only came about differently; so no rule may look at them.
    """

    def __init__(self, dialect: str, engines: int, rule: Rule, *, outputs: bool = False) -> None:
        """`outputs`: the engines' connections to back_output, which are made before anything is sent, count as well."""
        self._dialect, self._rule = Dialect.for_version(dialect), rule
        self._known: dict[Any, int] = {}
        self._cores: list[tuple[Coordinator, Remembered]] = []
        self._reactions: dict[tuple[int, Message], Reaction] = {}
        self._resumed: dict[int, int] = {}
        self._loads: dict[int, Publication | None] = {}
        self._outputs = range(engines if outputs else 0)
        self.first = self._number(self._met(Coordinator(engines, self._dialect)), Remembered(0, engines, False))

    def _met(self, core: Coordinator) -> Coordinator:
        for rank in self._outputs:
            core.handle(EVENTS["output"](rank, 0), 0.0)
        return core

    def _number(self, core: Coordinator, written: Remembered) -> int:
        peers, log = core.state.peers, core.state.log
        peers.changes, peers.connected = 0, _as_if_first(peers.connected)
        peers.broken = {channel: gaps for channel, gaps in peers.broken.items() if gaps}
        last = log.closed[-1:]
        log.closed = last
        key = (msgspec.msgpack.encode(core.state), written)
        log.closed = (_OVER, *last) if last else ()
        if key not in self._known:
            self._known[key] = len(self._cores)
            self._cores.append((core, written))
        return self._known[key]

    def __len__(self) -> int:
        return len(self._cores)

    def wave(self, number: int) -> int:
        return self._cores[number][0].current_wave

    def engine_count(self, number: int) -> int:
        return self._cores[number][0].engine_count

    def waiting(self, number: int) -> int:
        """How many wave messages wait for a second witness."""
        return len(self._cores[number][0].state.held)

    def describe(self, number: int) -> str:
        core = self._cores[number][0]
        recovery = core.snapshot(0.0).recovery
        phase = "first incarnation" if recovery is None else recovery.phase.value
        running = "running" if core.engines_running else "paused"
        return f"wave {core.current_wave} {running} ({phase}{'' if core.ready else ', before READY'})"

    def react(self, number: int, message: Message) -> Reaction:
        """Take a message, or a connection that begins or ends."""
        known = self._reactions.get((number, message))
        if known is None:
            known = self._reactions[number, message] = self._ask(number, message)
        return known

    def _ask(self, number: int, message: Message) -> Reaction:
        before, written = self._cores[number]
        core = Coordinator.from_checkpoint(before.state)
        event = EVENTS[message[0]](*message[1:])
        effects = [effect for effect in core.handle(event, 0.0) if self._is_performed(effect, message)]
        back = core.current_wave < before.current_wave and message[0] != "set wave"
        assert not back, f"{event} takes the wave back to {core.current_wave}"
        if self._rule is Rule.JOURNAL_LAST:
            effects.sort(key=lambda effect: isinstance(effect, WriteJournal))
        writes = [number for number, effect in enumerate(effects) if isinstance(effect, WriteJournal)]
        # With the journal written first, to die after some effects is to lose the newest of those that follow.
        cuts = range(1, writes[-1] + 1) if writes else range(0)
        cut_short = tuple(self._reaction(core, effects[:cut], written) for cut in cuts)
        return self._reaction(core, effects, written)._replace(cut_short=cut_short)

    def _reaction(self, core: Coordinator, effects: Sequence[Effect], written: Remembered) -> Reaction:
        starts: list[Start] = []
        published: list[Publication] = []
        for effect in effects:
            match effect:
                case SendReady():
                    starts.append(READY)
                case BroadcastStartWave():
                    starts.append((effect.wave, effect.exclude_engine_index))
                case PublishWaveState():
                    published.append((effect.current_wave, effect.engines_running))
                case WriteJournal():
                    written = effect.state
        return Reaction(self._number(core, written), tuple(starts), tuple(published))

    def _is_performed(self, effect: Effect, message: Message) -> bool:
        if not isinstance(effect, BroadcastStartWave) or effect.cause not in (
            WaveCause.RECOVERY,
            WaveCause.RECONNECTION,
        ):
            return True
        return not (self._rule is Rule.NOTHING or (self._rule is Rule.ONE_START and message[0] == "wave_complete"))

    def resume(self, number: int) -> int:
        """The one that comes back with what this one had written down."""
        if number not in self._resumed:
            written = self._cores[number][1]
            if self._rule is Rule.RAISED:
                written = Remembered(written.current_wave + 1, written.engine_count, written.ready)
            core = self._met(Coordinator(written.engine_count, self._dialect, resumed=written))
            self._resumed[number] = self._number(core, written)
        return self._resumed[number]

    def load(self, number: int) -> Publication | None:
        """The wave state in the next load publication; after READY it goes out every five seconds at least."""
        if number not in self._loads:
            core = Coordinator.from_checkpoint(self._cores[number][0].state)
            due = core.next_deadline()
            loads = [] if due is None else [e for e in core.tick(due) if isinstance(e, PublishLoad)]
            self._loads[number] = (loads[0].current_wave, loads[0].engines_running) if loads else None
        return self._loads[number]
