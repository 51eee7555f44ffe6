"""Frames as vLLM's own encoder writes them, and frames that nobody should send."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import msgspec

from tests.vllm.differential import generations

pack = msgspec.msgpack.encode


@cache
def _vllm() -> SimpleNamespace:
    with generations.importing():
        from vllm.v1.engine import EngineCoreOutputs
        from vllm.v1.metrics.stats import SchedulerStats
        from vllm.v1.serial_utils import MsgpackEncoder

    return SimpleNamespace(outputs=EngineCoreOutputs, stats=SchedulerStats, encode=MsgpackEncoder().encode)


def outputs(engine: int, **fields: Any) -> bytes:
    """One EngineCoreOutputs of the installed vLLM."""
    (frame,) = _vllm().encode(_vllm().outputs(engine_index=engine, timestamp=1.5, **fields))
    return bytes(frame)


def stats(waiting: int, running: int, kv: float, *, wave: int, step: int) -> Any:
    """Its scheduler_stats, with every key that this version has."""
    return _vllm().stats(
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
