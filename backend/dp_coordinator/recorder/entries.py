"""What stands in the chunks: checkpoints, inputs of the core with what came out, and the event log beside them.

Everything is msgpack. Inputs are kept as the events that the core took, not as the frames they came in: a report is
500 bytes on the wire and a tenth of that here, and frames that could not be read never reach the core.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeAlias, get_args

import msgspec

from dp_coordinator.core.effects import Effect
from dp_coordinator.core.events import EngineStatsReported, Event
from dp_coordinator.core.state import CoreState
from dp_coordinator.mailbox import LogEntry

_EVENTS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Event)}
Row: TypeAlias = tuple[int, int, int, float, int, int]
_row = attrgetter("engine_index", "waiting", "running", "kv_cache_usage", "step_counter", "current_wave")
_log_entry = attrgetter("seq", "at", "kind", "fields")
encode = msgspec.msgpack.Encoder(enc_hook=repr).encode
_NOTHING = encode([])
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are not ours."""


class Reports(msgspec.Struct, array_like=True, tag=0, gc=False):
    """`handle_reports`: reports of load that were taken at once."""

    at: float
    rows: list[Row]
    out: msgspec.Raw


class Input(msgspec.Struct, array_like=True, tag=1, gc=False):
    """`handle`: one event of any kind."""

    at: float
    kind: str
    fields: Any
    """The event's own, by name."""
    out: msgspec.Raw


class Tick(msgspec.Struct, array_like=True, tag=2, gc=False):
    """`tick`: something was due."""

    at: float
    out: msgspec.Raw


RecordedInput: TypeAlias = Reports | Input | Tick


class RecordedLogEntry(msgspec.Struct, array_like=True, gc=False):
    """One entry of the event log, numbered as it was."""

    seq: int
    at: float
    kind: str
    fields: dict[str, Any]


class RecordsBody(msgspec.Struct, array_like=True):
    """The body of a RECORDS chunk."""

    index: int
    """Number of the first record, counted from the start of the process."""
    records: list[RecordedInput]
    log: list[RecordedLogEntry]


class CheckpointBody(msgspec.Struct, array_like=True):
    """The body of a CHECKPOINT chunk: the state before the record with this index."""

    index: int
    at: float
    """Monotonic seconds, as of everything else in the recording."""
    wall: float
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


class UnusableError(ValueError):
    """Whole and unchanged, but nothing that this version of dp-coordinator has written."""


def event_of(record: Input) -> Event:
    """The event of an `Input`. Raises `UnusableError`."""
    kind = _EVENTS.get(record.kind)
    if kind is None:
        raise UnusableError(f"the core knows no {record.kind[:80]!r}")
    try:
        made: Event = msgspec.convert(record.fields, kind)
    except msgspec.MsgspecError as error:
        raise UnusableError(f"{record.kind}: {error}") from None
    return made


def reports_of(record: Reports) -> list[EngineStatsReported]:
    """The events of a `Reports`."""
    return [EngineStatsReported(*row) for row in record.rows]
