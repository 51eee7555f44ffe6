"""The frames that engines and front-ends exchange with the coordinator, seen from their side.

Layouts: `EngineCoreOutputs` in vllm/v1/engine/__init__.py and `SchedulerStats` in vllm/v1/metrics/stats.py, vLLM 0.10.2
to 0.33.0. Encoding gives what vLLM's own peers give; decoding accepts what any coordinator of those versions publishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import msgspec

from dp_coordinator.core.dialect import Dialect

READY = b"READY"
"""Sent to engines once every expected engine has subscribed; an engine's first message must be this."""
START_DP_WAVE = b"\x02"
"""First of the two frames that tell engines to join a wave."""
SUBSCRIBE = b"\x01"
"""What an XSUB sends to subscribe to everything."""
UNSUBSCRIBE = b"\x00"
"""What an XSUB sends to take that back."""

_SCALE = "SCALE_ELASTIC_EP"


class FrameError(ValueError):
    """A frame from the coordinator does not have the layout that the protocol gives it."""


class EngineLoad(NamedTuple):
    """One engine's published counts. The coordinator publishes zeros for an engine that never reported."""

    waiting: int
    running: int
    kv_cache_usage: float = 0.0
    """0 to 1; 0.0 from coordinators before 0.27, which do not publish it."""


class Publication(NamedTuple):
    """One message to front-ends."""

    counts: tuple[EngineLoad, ...] | None
    """Per engine, in index order; None when only the wave or running state changed."""
    current_wave: int
    engines_running: bool


_encoder = msgspec.msgpack.Encoder()
_start_decoder = msgspec.msgpack.Decoder(tuple[int, int | bytes | None])
_publication_decoder = msgspec.msgpack.Decoder(tuple[list[list[int | float]] | None, int, bool])


def encode_notice(engine_index: int, wave: int) -> bytes:
    """Front-end to coordinator: a request went to that engine while the engines were believed paused at `wave`."""
    return _encoder.encode((engine_index, wave))


def encode_scale(engine_count: int) -> bytes:
    """Front-end to coordinator: there are `engine_count` engines now."""
    return _encoder.encode((_SCALE, engine_count))


def _outputs(
    engine_index: int,
    timestamp: float,
    dialect: Dialect,
    *,
    scheduler_stats: dict[str, int | float] | None = None,
    wave_complete: int | None = None,
    start_wave: int | None = None,
) -> bytes:
    """One `EngineCoreOutputs` with every field of the dialect present."""
    fields: list[object] = [engine_index, [], scheduler_stats, timestamp, None, None, wave_complete, start_wave]
    if dialect.outputs_carry_weight_version:
        fields.append(None)
    return _encoder.encode(fields)


def encode_stats(
    engine_index: int,
    *,
    waiting: int,
    running: int,
    kv_cache_usage: float,
    step_counter: int,
    current_wave: int,
    timestamp: float,
    dialect: Dialect,
) -> bytes:
    """Engine to coordinator: request counts as they stand at `step_counter` of `current_wave`.

    `kv_cache_usage` is a share from 0 to 1, `timestamp` the engine's monotonic clock in seconds. Of the map's keys only
    the five that a coordinator uses are sent.
    """
    stats: dict[str, int | float] = {
        "num_running_reqs": running,
        "num_waiting_reqs": waiting,
        "step_counter": step_counter,
        "current_wave": current_wave,
        "kv_cache_usage": float(kv_cache_usage),
    }
    return _outputs(engine_index, timestamp, dialect, scheduler_stats=stats)


def encode_wave_complete(engine_index: int, wave: int, timestamp: float, dialect: Dialect) -> bytes:
    """Engine to coordinator: the ranks agreed that nothing is unfinished, `wave` is over."""
    return _outputs(engine_index, timestamp, dialect, wave_complete=wave)


def encode_start_wave(engine_index: int, wave: int, timestamp: float, dialect: Dialect) -> bytes:
    """Engine to coordinator: this engine runs `wave`, the others must join."""
    return _outputs(engine_index, timestamp, dialect, start_wave=wave)


def decode_start(frames: Sequence[bytes]) -> tuple[int, int | None]:
    """Read a START_DP_WAVE message: its wave, and the engine that is to ignore it or None.

    vLLM's own coordinator passes on an engine identity as the two little-endian bytes that the front-end gave; those
    are read as the index they mean. Raises `FrameError` for anything else.
    """
    if len(frames) != 2 or frames[0] != START_DP_WAVE:
        raise FrameError(f"expected START_DP_WAVE and its payload, got {len(frames)} frame(s)")
    try:
        wave, excluded = _start_decoder.decode(frames[1])
    except msgspec.MsgspecError as error:
        raise FrameError(f"START_DP_WAVE payload: {error}") from error
    if isinstance(excluded, bytes):
        excluded = int.from_bytes(excluded, "little")
    return wave, excluded


def decode_publication(frame: bytes) -> Publication:
    """Read a message of front_publish, its counts with or without kv_cache_usage.

    Raises `FrameError` for anything else.
    """
    try:
        counts, current_wave, engines_running = _publication_decoder.decode(frame)
    except msgspec.MsgspecError as error:
        raise FrameError(f"publication: {error}") from error
    if counts is None:
        return Publication(None, current_wave, engines_running)
    return Publication(tuple(_load(columns) for columns in counts), current_wave, engines_running)


def _load(columns: list[int | float]) -> EngineLoad:
    if len(columns) < 2:
        raise FrameError(f"publication: counts of one engine have {len(columns)} value(s), expected 2 or 3")
    if not all(map(isfinite, columns[:2])):
        raise FrameError(f"publication: counts of one engine are {columns[:2]}")
    kv_cache_usage = float(columns[2]) if len(columns) > 2 else 0.0
    return EngineLoad(int(columns[0]), int(columns[1]), kv_cache_usage)
