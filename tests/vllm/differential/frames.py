"""Frames as vLLM's own encoder writes them, and frames that nobody should send."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

pack = msgspec.msgpack.encode


@cache
def _encoder() -> Any:
    from vllm.v1.serial_utils import MsgpackEncoder

    return MsgpackEncoder()


def outputs(engine: int, **fields: Any) -> bytes:
    """One EngineCoreOutputs of the installed vLLM."""
    from vllm.v1.engine import EngineCoreOutputs

    (frame,) = _encoder().encode(EngineCoreOutputs(engine_index=engine, timestamp=1.5, **fields))
    return bytes(frame)


def stats(waiting: int, running: int, kv: float, *, wave: int, step: int) -> Any:
    """Its scheduler_stats, with every key that this version has."""
    from vllm.v1.metrics.stats import SchedulerStats

    return SchedulerStats(
        num_waiting_reqs=waiting,
        num_running_reqs=running,
        kv_cache_usage=kv,
        current_wave=wave,
        step_counter=step,
    )


def report(engine: int, waiting: int, running: int, kv: float = 0.0, *, wave: int = 0, step: int = 0) -> bytes:
    return outputs(engine, scheduler_stats=stats(waiting, running, kv, wave=wave, step=step))


def notice(engine: int | bytes | None, wave: int) -> bytes:
    return pack((engine, wave))


def identity(engine: int) -> bytes:
    """How a Python front-end names an engine."""
    return engine.to_bytes(2, "little")


def scale(engine_count: object) -> bytes:
    return pack(("SCALE_ELASTIC_EP", engine_count))
