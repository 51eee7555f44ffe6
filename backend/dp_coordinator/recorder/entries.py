"""What stands in the chunks: checkpoints, inputs of the core with what came out, and the event log beside them.

Everything is msgpack. Inputs are kept as the events that the core took, not as the frames they came in: a report is
500 bytes on the wire and a tenth of that here, and frames that could not be read never reach the core.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from operator import attrgetter
from typing import Annotated, Any, TypeAlias, get_args

import msgspec

from dp_coordinator.core.coordinator import MAX_ENGINES
from dp_coordinator.core.effects import Effect
from dp_coordinator.core.events import EngineStatsReported, Event
from dp_coordinator.core.state import CoreState
from dp_coordinator.mailbox import LogEntry
from dp_coordinator.texts import is_plain, shown

_EVENTS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Event)}
LARGEST = 2**53
"""Of whole numbers: no wave, step, index or number of requests comes near."""
LONGEST_TEXT = 4096
Moment: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e10)]
"""Monotonic seconds: those of a machine that is up for 300 years at most; NaN is in no range."""
WallMoment: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]
"""Unix seconds, up to the end of the year 9999."""
_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
_Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Row: TypeAlias = tuple[_Number, _Number, _Number, _Share, _Number, _Number]
_row = attrgetter("engine_index", "waiting", "running", "kv_cache_usage", "step_counter", "current_wave")
_log_entry = attrgetter("seq", "at", "kind", "fields", "first_seq")
encode = msgspec.msgpack.Encoder(enc_hook=repr).encode
_NOTHING = encode([])
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)
"""What decoding raises for bytes that are not ours."""


class Reports(msgspec.Struct, array_like=True, tag=0, gc=False):
    """`handle_reports`: reports of load that were taken at once."""

    at: Moment
    rows: list[Row]
    out: msgspec.Raw


class Input(msgspec.Struct, array_like=True, tag=1, gc=False):
    """`handle`: one event of any kind."""

    at: Moment
    kind: str
    fields: Any
    """The event's own, by name."""
    out: msgspec.Raw


class Tick(msgspec.Struct, array_like=True, tag=2, gc=False):
    """`tick`: something was due."""

    at: Moment
    out: msgspec.Raw


RecordedInput: TypeAlias = Reports | Input | Tick


class RecordedLogEntry(msgspec.Struct, array_like=True, gc=False):
    """One entry of the event log, numbered as it was; written again when it has come to stand for more."""

    seq: _Number
    at: Moment
    kind: str
    fields: dict[str, Any]
    first_seq: _Number = 0


class RecordsBody(msgspec.Struct, array_like=True):
    """The body of a RECORDS chunk."""

    index: _Number
    """Number of the first record, counted from the start of the process."""
    records: list[RecordedInput]
    log: list[RecordedLogEntry]


class CheckpointBody(msgspec.Struct, array_like=True):
    """The body of a CHECKPOINT chunk: the state before the record with this index."""

    index: _Number
    at: Moment
    """Monotonic seconds, as of everything else in the recording."""
    wall: WallMoment
    """Unix seconds at the same moment."""
    state: CoreState


def encode_effects(effects: Sequence[Effect]) -> bytes:
    """What came out of the core, as bytes that can be compared: [[kind, fields], ...]."""
    return encode([(type(effect).__name__, effect) for effect in effects]) if effects else _NOTHING


def defect(error: Exception) -> bytes:
    """The core raised instead: a defect, and it must raise the same again."""
    return encode(f"{type(error).__name__}: {error}")


def rows(reports: Iterable[EngineStatsReported]) -> list[Row]:
    """Reports as they stand in a `Reports`."""
    return list(map(_row, reports))


def records_body(index: int, records: Iterable[bytes], log: Iterable[LogEntry]) -> bytes:
    """A `RecordsBody` of records that are encoded already."""
    return encode((index, list(map(msgspec.Raw, records)), list(map(_log_entry, log))))


def check(body: CheckpointBody | RecordsBody) -> None:
    """Refuse what has the right shape and was not written by any coordinator. Raises `msgspec.ValidationError`."""
    if isinstance(body, RecordsBody):
        for record in body.records:
            if isinstance(record, Input):
                _check_values(record.fields)
        return
    _check_values(body.state)
    state, count = body.state, body.state.engine_count
    columns = (state.load.counts, state.load.steps, state.load.reported_at, state.load.restarts)
    if not 1 <= count <= MAX_ENGINES or any(len(column) != count for column in columns):
        raise msgspec.ValidationError(f"a state of {count} engines, which does not tell of so many")


def _check_values(value: object) -> None:
    """Every number finite and no larger than any of ours, every text fit to be shown, as ours are."""
    match value:
        case bool() | None | Enum():
            return
        case int() | float():
            if not -LARGEST <= value <= LARGEST:  # NaN is in no range
                raise msgspec.ValidationError(f"a number that no coordinator has: {value}")
        case str():
            if len(value) > LONGEST_TEXT or not is_plain(value):
                raise msgspec.ValidationError(f"a text that no coordinator has: {shown(value)}")
        case Mapping():
            for key, held in value.items():
                _check_values(key)
                _check_values(held)
        case list() | tuple():
            for item in value:
                _check_values(item)
        case _ if is_dataclass(value):
            for each in fields(value):
                _check_values(getattr(value, each.name))


class UnusableError(ValueError):
    """Whole and unchanged, but nothing that this version of dp-coordinator has written."""


def event_of(record: Input) -> Event:
    """The event of an `Input`. Raises `UnusableError`."""
    kind = _EVENTS.get(record.kind)
    if kind is None:
        raise UnusableError(f"an input that the core does not know: {shown(record.kind, 80)}")
    try:
        made: Event = msgspec.convert(record.fields, kind)
    except msgspec.MsgspecError as error:
        raise UnusableError(f"{record.kind}: {shown(str(error))}") from None
    return made


def reports_of(record: Reports) -> list[EngineStatsReported]:
    """The events of a `Reports`."""
    return [EngineStatsReported(*row) for row in record.rows]
