"""The frames of the three sockets, seen from the coordinator.

Decoding is tolerant (missing trailing fields, unknown further fields and unknown map keys are normal between versions)
and total: for any bytes it gives events or raises `BadFrameError`, nothing else. Encoding is exact.
Layouts: `EngineCoreOutputs` in vllm/v1/engine/__init__.py, `SchedulerStats` in vllm/v1/metrics/stats.py, and
vllm/v1/engine/coordinator.py, vLLM 0.10.2 to 0.33.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.effects import EngineCounts
from dp_coordinator.core.events import (
    EngineCountChanged,
    EngineStatsReported,
    Event,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.texts import shown
from dp_coordinator.wire.client import START_DP_WAVE

T = TypeVar("T")
WaveEvent: TypeAlias = WaveCompleted | StartWaveRequested

MAX_FRAME = 1 << 20
"""Bytes of an engine's. Real reports have 500 to 800; a larger frame than this is a stranger's."""
MAX_NOTICE = 2 << 10
"""Bytes of a front-end's. Real ones have 10 to 30."""
_MAX_COUNT = (1 << 53) - 1  # exact in every JSON reader, far beyond any wave or step

_Count = Annotated[int, msgspec.Meta(ge=0, le=_MAX_COUNT)]
_Index = Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]  # NaN is in no range


class BadFrameError(ValueError):
    """The frame is none that the protocol knows. `kind` names the fault for counters, the text says what was wrong.

    What the frame says may be quoted in it: it is cut, and fit to be shown.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(shown(detail))
        self.kind = kind


class BadFieldsError(BadFrameError):
    """Some fields of an engine's frame are not what they must be; each of the others counts."""

    def __init__(self, sound: _Sound, faults: Sequence[str]) -> None:
        super().__init__("bad_field", f"rank {sound.engine_index}: {'; '.join(faults)}")
        self._sound = sound
        self.engine_index = sound.engine_index

    def events(self, last: EngineStatsReported | None) -> Sequence[Event]:
        """The events in the frame, with the engine's `last` report for what its counts do not say."""
        sound = self._sound
        index, events = sound.engine_index, list[Event]()
        if sound.stats:
            report = last or EngineStatsReported(index, 0, 0, 0.0, 0, 0)
            events.append(replace(report, **{_REPORTED[name]: value for name, value in sound.stats.items()}))
        wave_event = _wave_event(index, sound.wave_complete, sound.start_wave)
        return events if wave_event is None else [*events, wave_event]


@dataclass(slots=True)
class _Sound:
    """What is in order of a frame."""

    engine_index: int
    stats: dict[str, Any] = field(default_factory=dict)
    wave_complete: int | None = None
    start_wave: int | None = None


class _SchedulerStats(msgspec.Struct, gc=False):
    num_waiting_reqs: _Count = 0
    num_running_reqs: _Count = 0
    step_counter: _Count = 0
    current_wave: _Count = 0
    kv_cache_usage: _Share = 0.0


class _EngineCoreOutputs(msgspec.Struct, array_like=True, gc=False):
    engine_index: _Count
    outputs: msgspec.Raw = msgspec.Raw()
    scheduler_stats: _SchedulerStats | None = None
    timestamp: msgspec.Raw = msgspec.Raw()
    utility_output: msgspec.Raw = msgspec.Raw()
    finished_requests: msgspec.Raw = msgspec.Raw()
    wave_complete: _Count | None = None
    start_wave: _Count | None = None


class _EngineCoreFields(msgspec.Struct, array_like=True, gc=False):
    """The same, each field to be decoded by itself."""

    engine_index: _Count
    outputs: msgspec.Raw = msgspec.Raw()
    scheduler_stats: msgspec.Raw = msgspec.Raw()
    timestamp: msgspec.Raw = msgspec.Raw()
    utility_output: msgspec.Raw = msgspec.Raw()
    finished_requests: msgspec.Raw = msgspec.Raw()
    wave_complete: msgspec.Raw = msgspec.Raw()
    start_wave: msgspec.Raw = msgspec.Raw()


class _Sender(msgspec.Struct, array_like=True, gc=False):
    engine_index: _Index


_decode_sender = msgspec.msgpack.Decoder(_Sender).decode
_decode_outputs = msgspec.msgpack.Decoder(_EngineCoreOutputs).decode
_decode_fields = msgspec.msgpack.Decoder(_EngineCoreFields).decode
_decode_stats = msgspec.msgpack.Decoder(dict[str, msgspec.Raw] | None).decode
_decode_count = msgspec.msgpack.Decoder(_Count).decode
_decode_wave = msgspec.msgpack.Decoder(_Count | None).decode
_decode_share = msgspec.msgpack.Decoder(_Share).decode
_decode_notice = msgspec.msgpack.Decoder(tuple[int | bytes, int]).decode
_decode_scale = msgspec.msgpack.Decoder(tuple[Literal["SCALE_ELASTIC_EP"], int]).decode
_encode = msgspec.msgpack.Encoder().encode

_REPORTED = {
    "num_waiting_reqs": "waiting",
    "num_running_reqs": "running",
    "step_counter": "step_counter",
    "current_wave": "current_wave",
    "kv_cache_usage": "kv_cache_usage",
}
"""A key of the counts -> what `EngineStatsReported` calls it."""

# What msgspec can raise on hostile bytes: besides its own errors, deep nesting and broken text.
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)


def read_outputs(frame: bytes, reports: list[EngineStatsReported]) -> WaveEvent | None:
    """Add the counts in one frame from back_output to `reports`, and return its wave event, which comes after them.

    wave_complete wins over start_wave in the same frame. Raises `BadFrameError`; `BadFieldsError`, when some fields
    can be taken all the same. Nothing is made for a frame but its report: a backlog may hold millions.
    """
    if len(frame) > MAX_FRAME:
        raise BadFrameError("oversize", f"{len(frame)} bytes; engine outputs have at most {MAX_FRAME}")
    try:
        outputs = _decode_outputs(frame)
    except _DECODE_ERRORS as error:
        raise _field_by_field(frame, error) from None
    index, stats = outputs.engine_index, outputs.scheduler_stats
    if stats is not None:
        report = EngineStatsReported(
            index,
            stats.num_waiting_reqs,
            stats.num_running_reqs,
            stats.kv_cache_usage,
            stats.step_counter,
            stats.current_wave,
        )
        reports.append(report)
    if outputs.wave_complete is None and outputs.start_wave is None:
        return None
    return _wave_event(index, outputs.wave_complete, outputs.start_wave)


def _wave_event(index: int, wave_complete: int | None, start_wave: int | None) -> WaveEvent | None:
    if wave_complete is not None:
        return WaveCompleted(index, wave_complete)
    return None if start_wave is None else StartWaveRequested(index, start_wave)


def _field_by_field(frame: bytes, error: Exception) -> BadFrameError:
    """What is wrong with a frame that did not decode as a whole, and what is not."""
    try:
        fields = _decode_fields(frame)
    except _DECODE_ERRORS:
        return BadFrameError("undecodable", f"not an EngineCoreOutputs array: {error}")
    sound, faults = _Sound(fields.engine_index), list[str]()

    def read(name: str, decode: Callable[[msgspec.Raw], T], raw: msgspec.Raw) -> T | None:
        try:
            return decode(raw)
        except _DECODE_ERRORS as fault:
            faults.append(f"{name}: {fault}")
            return None

    stats = read("scheduler_stats", _decode_stats, fields.scheduler_stats) or {}
    for name in filter(stats.__contains__, _REPORTED):
        decode: Callable[[msgspec.Raw], float] = _decode_share if name == "kv_cache_usage" else _decode_count
        if (value := read(name, decode, stats[name])) is not None:
            sound.stats[name] = value
    if fields.wave_complete:
        sound.wave_complete = read("wave_complete", _decode_wave, fields.wave_complete)
    if fields.start_wave:
        sound.start_wave = read("start_wave", _decode_wave, fields.start_wave)
    return BadFieldsError(sound, faults or [str(error)])


def sender_index(frame: bytes) -> int | None:
    """The engine that a frame from back_output says it is of, even if the rest cannot be read."""
    try:
        return _decode_sender(frame[:MAX_FRAME]).engine_index
    except _DECODE_ERRORS:
        return None


def front_end_event(frame: bytes, engine_count: int) -> NewRequestNotified | EngineCountChanged:
    """The event in one frame from front_publish that is no subscription. Raises `BadFrameError`.

    The engine of a notice is an int, or its identity: two bytes, little-endian (Python front-ends as recorded from
    vLLM 0.28 and 0.32). One that does not exist excludes nobody: the request it tells of is real all the same.
    """
    if len(frame) > MAX_NOTICE:
        raise BadFrameError("oversize", f"{len(frame)} bytes; front-end messages have at most {MAX_NOTICE}")
    try:
        target, number = _front_end_fields(frame)
    except _DECODE_ERRORS as error:
        expected = 'expected (engine, wave) or ("SCALE_ELASTIC_EP", engine_count)'
        raise BadFrameError("undecodable", f"{expected}: {error}") from None
    if not 0 <= number <= _MAX_COUNT:
        raise BadFrameError("undecodable", f"{number} is no wave and no engine count")
    if isinstance(target, str):
        return EngineCountChanged(number)
    if isinstance(target, bytes):
        if len(target) != 2:
            raise BadFrameError("undecodable", f"an engine identity has 2 bytes, not {len(target)}")
        target = int.from_bytes(target, "little")
    return NewRequestNotified(target if 0 <= target < engine_count else None, number)


def _front_end_fields(frame: bytes) -> tuple[int | bytes | str, int]:
    if b"SCALE" in frame:
        return _decode_scale(frame)
    return _decode_notice(frame)


def encode_start(wave: int, exclude_engine_index: int | None) -> tuple[bytes, bytes]:
    """The two frames of START_DP_WAVE."""
    return START_DP_WAVE, _encode((wave, exclude_engine_index))


def encode_wave_state(current_wave: int, engines_running: bool) -> bytes:
    """The announcement that the wave or the running state changed."""
    return _encode((None, current_wave, engines_running))


def encode_load(counts: Sequence[EngineCounts], current_wave: int, engines_running: bool, dialect: Dialect) -> bytes:
    """The load publication, in the width that front-ends of this dialect unpack."""
    if dialect.counts_carry_kv_cache_usage:
        return _encode((counts, current_wave, engines_running))
    return _encode(([(waiting, running) for waiting, running, _ in counts], current_wave, engines_running))
