"""Frames as engines send them: captured from real vLLM, with steps, waves, counts and engine index replaced.

The captures and where they come from: tests/wire/golden.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec.msgpack

DIALECT = "0.32"
"""The generation that is measured: the newest in which a front-end's notice brings out a START."""
FIRST_STEP, LAST_STEP = 256, 65535
"""Steps stay in the range that msgpack writes in three bytes, so that a frame can be stamped without encoding it."""

_GOLDEN = Path(__file__).parent.parent / "tests" / "wire" / "golden" / "captures.json"
_SOURCE = "v0.32.0_moe_1api"
_STEP_KEY = msgspec.msgpack.encode("step_counter")


@cache
def _captured(message_type: str) -> list[Any]:
    samples = json.loads(_GOLDEN.read_text())["samples"][message_type]
    frame = next(sample["frames"][0] for sample in samples if sample["source"] == _SOURCE)
    decoded: list[Any] = msgspec.msgpack.decode(bytes.fromhex(frame))
    return decoded


def report(engine: int, wave: int, step: int, *, full: bool = False) -> bytes:
    """One engine's stats report: about 500 bytes as captured from tiny models, about 800 when `full`.

    A `full` one has what a busy engine adds: LoRA adapters in use and a KV connector's own figures.
    """
    outputs = list(_captured("engine_stats"))
    stats = dict(outputs[2])
    variant = (engine * 7 + step * 3) % 61
    stats |= {
        "num_waiting_reqs": variant,
        "num_running_reqs": variant * 4 % 257,
        "kv_cache_usage": variant / 64 + 0.001,
        "step_counter": step,
        "current_wave": wave,
    }
    if full:
        stats["running_lora_adapters"] = {f"customer-adapter-{n:02}": n for n in range(8)}
        stats["kv_connector_stats"] = {
            f"{direction}_{figure}": float(variant)
            for direction in ("load", "store")
            for figure in ("bytes_total", "seconds_total", "blocks")
        }
    outputs[0], outputs[2] = engine, stats
    return msgspec.msgpack.encode(outputs)


def marked_report(engine: int, numbers: Mapping[str, float]) -> bytes:
    """A report as captured, with these numbers in its scheduler stats."""
    outputs = list(_captured("engine_stats"))
    outputs[0], outputs[2] = engine, outputs[2] | numbers
    return msgspec.msgpack.encode(outputs)


def wave_complete(engine: int, wave: int) -> bytes:
    """What ends a wave."""
    outputs = list(_captured("engine_wave_complete"))
    outputs[0], outputs[6] = engine, wave
    return msgspec.msgpack.encode(outputs)


def start_wave(engine: int, wave: int) -> bytes:
    """What tells that an engine runs a wave which the others must join."""
    outputs = list(_captured("engine_start_wave"))
    outputs[0], outputs[7] = engine, wave
    return msgspec.msgpack.encode(outputs)


def notice(engine: int, wave: int) -> bytes:
    """A front-end's new-request notice."""
    return msgspec.msgpack.encode((engine, wave))


def steps(engines: int, wave: int, *, full: bool = False, variants: int = 4) -> Iterator[list[bytes]]:
    """Lockstep reports without end: one list a step, holding one frame of every engine in index order.

    Frames are cut at the step number once and then only joined again, which costs 0.2 us a frame.
    """
    while True:
        templates = [
            [_cut(report(engine, wave, FIRST_STEP + variant, full=full)) for engine in range(engines)]
            for variant in range(variants)
        ]
        for step in range(FIRST_STEP, LAST_STEP + 1):
            stamp = struct.pack(">H", step)
            yield [head + stamp + tail for head, tail in templates[step % variants]]
        wave += 1


def _cut(frame: bytes) -> tuple[bytes, bytes]:
    at = frame.index(_STEP_KEY) + len(_STEP_KEY) + 1
    return frame[:at], frame[at + 2 :]
