"""Runs the core over a recording again, and compares all that comes out, byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import msgspec

from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.core.effects import Effect
from dp_coordinator.core.state import CoreState
from dp_coordinator.observer import Given, Host
from dp_coordinator.recorder import entries
from dp_coordinator.recorder.entries import CheckpointBody, Input, RecordedInput, RecordsBody, Reports
from dp_coordinator.recorder.reader import Ended, Place, Source
from dp_coordinator.texts import shown

_MISSING = object()
"""Nothing at all, where the other side has something."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the core first did something else than when it was recorded."""

    place: Place
    index: int
    """Number of the input, counted from the start of the recorded process."""
    at: float
    """Unix seconds."""
    input: str
    expected: str
    got: str


@dataclass(slots=True)
class Summary:
    """What was replayed."""

    first_at: float | None = None
    last_at: float | None = None
    """Unix seconds."""
    span_s: float = 0.0
    inputs: int = 0
    reports: int = 0
    effects: Counter[str] = field(default_factory=Counter)
    """Effect -> how many."""
    waves: int = 0
    """Waves that were completed."""
    gaps: int = 0
    """Times that the core had to begin anew at a recorded state, since inputs are missing."""
    endings: list[Ended] = field(default_factory=list)
    difference: Difference | None = None


class Runner:
    """A core that goes through a recording, one item at a time. `view` shows what it does."""

    def __init__(self) -> None:
        self.core: Coordinator | None = None
        self.index = 0
        """Number of the next input."""
        self.wall_offset = 0.0
        """Unix seconds less the recording's monotonic seconds."""

    def take_checkpoint(self, moment: CheckpointBody) -> tuple[CoreState | None, bool]:
        """Begin or go on at a recorded state: (the core's own state where it differs, whether some inputs are missing).

        Raises `entries.UnusableError` for a state that no core can have.
        """
        self.wall_offset = moment.wall - moment.at
        if self.core is not None and self.index == moment.index:
            own = self.core.checkpoint()
            return (None if entries.encode(own) == entries.encode(moment.state) else own), False
        gap = self.core is not None
        try:
            self.core = Coordinator.from_checkpoint(moment.state)
            self.core.snapshot(moment.at)
        except Exception as error:  # typed, but not by us: whatever it is, the file is to blame
            self.core = None
            raise entries.UnusableError(f"a state that no core can have: {shown(str(error))}") from None
        self.index = moment.index
        return None, gap

    def put(self, record: RecordedInput) -> tuple[Given, Sequence[Effect], bytes]:
        """Give the core one input; returns it, what came out, and that as bytes. Raises `entries.UnusableError`."""
        assert self.core is not None, "a recording begins with the state"
        given: Given = None
        if isinstance(record, Reports):
            given = entries.reports_of(record)
        elif isinstance(record, Input):
            given = entries.event_of(record)
        self.index += 1
        try:
            effects = Host(self.core).take(given, record.at)
        except Exception as error:
            return given, (), entries.defect(error)
        return given, effects, entries.encode_effects(effects)


def replay(sources: Sequence[Source]) -> Summary:
    """Run the core over these files, as far as they go or until the first difference."""
    summary, runner, run = Summary(), Runner(), None
    for source in sources:
        if source.run != run:
            runner, run = Runner(), source.run
        for place, item in source.items():
            try:
                _take(runner, item, place, summary)
            except entries.UnusableError as error:
                source.ended = Ended(source.name, f"the chunk at byte {place.offset} holds {error}", damaged=True)
                break
            if summary.difference is not None:
                return summary
        summary.endings.append(source.ended)
    return summary


def _take(runner: Runner, item: CheckpointBody | RecordsBody, place: Place, summary: Summary) -> None:
    if isinstance(item, CheckpointBody):
        begins = runner.core is None
        differing, gap = runner.take_checkpoint(item)
        summary.gaps += gap
        _saw(summary, runner, item.at, begins=begins or gap)
        if differing is not None:
            input_ = "the whole state, as it was written down here"
            expected, got = _first_difference(*(_decoded(entries.encode(state)) for state in (item.state, differing)))
            summary.difference = Difference(place, item.index, item.at + runner.wall_offset, input_, expected, got)
        return
    if runner.core is None or item.index != runner.index:
        raise entries.UnusableError(f"records from number {item.index} on, but those before it are missing")
    for record in item.records:
        _, effects, got_bytes = runner.put(record)
        _saw(summary, runner, record.at)
        if got_bytes != bytes(record.out):
            summary.difference = _difference(runner, record, place, got_bytes)
            return
        _count(summary, record, effects)


def _saw(summary: Summary, runner: Runner, at: float, *, begins: bool = False) -> None:
    wall = at + runner.wall_offset
    if summary.first_at is None:
        summary.first_at = wall
    elif not begins and summary.last_at is not None:
        summary.span_s += max(0.0, wall - summary.last_at)
    summary.last_at = wall


def _count(summary: Summary, record: RecordedInput, effects: Sequence[Effect]) -> None:
    summary.inputs += 1
    summary.reports += len(record.rows) if isinstance(record, Reports) else 0
    for effect in effects:
        summary.effects[type(effect).__name__] += 1
        summary.waves += getattr(effect, "kind", None) == "wave_completed"


def _difference(runner: Runner, record: RecordedInput, place: Place, got: bytes) -> Difference:
    expected_at, got_at = _differing_effect(_decoded(bytes(record.out)), _decoded(got))
    return Difference(place, runner.index - 1, record.at + runner.wall_offset, describe(record), expected_at, got_at)


def _differing_effect(expected: Any, got: Any) -> tuple[str, str]:
    if not (isinstance(expected, list) and isinstance(got, list)):
        return _shown(expected), _shown(got)  # the one or the other is a defect, told as text
    pairs = enumerate(zip_longest(expected, got, fillvalue=_MISSING))
    number, (then, now) = next((found for found in pairs if _unlike(*found[1])), (0, (expected, got)))
    where, sides = f"effect {number}", (_shown(then), _shown(now))
    match then, now:
        case [kind, then_fields], [now_kind, now_fields] if kind == now_kind:
            where, sides = f"{where}, {kind}", _first_difference(then_fields, now_fields)
    return f"{where}: {sides[0]}", f"{where}: {sides[1]}"


def _decoded(told: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(told)
    except entries.UNREADABLE:
        return told.hex()


def describe(record: RecordedInput) -> str:
    """An input in a few words."""
    if isinstance(record, Reports):
        ranks = sorted({row[0] for row in record.rows})
        return f"{len(record.rows)} report(s) of rank(s) {', '.join(map(str, ranks[:8]))}{' ...' * (len(ranks) > 8)}"
    if isinstance(record, Input):
        fields = ", ".join(f"{name}={value!r}" for name, value in record.fields.items())
        return f"{record.kind}({fields})"
    return "tick: something was due"


def _first_difference(expected: Any, got: Any, way: str = "") -> tuple[str, str]:
    """Both sides where they first differ, with the way there."""
    if type(expected) is type(got) and isinstance(expected, list | dict):
        then, now = (dict(enumerate(side)) if isinstance(side, list) else side for side in (expected, got))
        for key in {**then, **now}:
            inner = then.get(key, _MISSING), now.get(key, _MISSING)
            if _unlike(*inner):
                return _first_difference(*inner, f"{way}[{key!r}]")
    return _shown(expected, way), _shown(got, way)


def _unlike(a: Any, b: Any) -> bool:
    return entries.encode(a) != entries.encode(b)


def _shown(value: Any, way: str = "") -> str:
    text = "nothing" if value is _MISSING else repr(value)[:500]
    return f"{way} = {text}" if way else text
