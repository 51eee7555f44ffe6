"""Reads the recorded conversations of real vLLM, with its own coordinator and with ours."""

from __future__ import annotations

import gzip
import itertools
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from dp_coordinator.core.events import EngineStatsReported
from tests.wire.outputs import engine_events

CAPTURES = Path(__file__).parent / "golden" / "captures.json"


@dataclass(frozen=True)
class Message:
    t: float
    role: str
    dir: str
    type: str
    frames: tuple[bytes, ...]

    @property
    def sent(self) -> bool:
        return self.dir == "send"

    def stats(self) -> list[EngineStatsReported]:
        """The report of load in this message, if it is one."""
        if self.type != "engine_stats":
            return []
        return [e for e in engine_events(self.frames[0]) if isinstance(e, EngineStatsReported)]


@dataclass(frozen=True)
class Recording:
    name: str
    messages: tuple[Message, ...]

    @property
    def version(self) -> str:
        return self.name[1:].partition("_")[0]

    @property
    def incarnations(self) -> list[Recording]:
        """One recording for each process that was the coordinator: the next takes over where one was killed."""
        starts = [0, *(i for i, m in enumerate(self.messages) if m.type == "proc_killed"), len(self.messages)]
        return [Recording(self.name, self.messages[a:b]) for a, b in itertools.pairwise(starts)]

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments that vLLM gave its DPCoordinatorProc."""
        text = self.messages[0].frames[0].decode()
        return dict(eval(text, {"__builtins__": {}})[1])

    def sent(self, kind: str) -> list[Message]:
        return [m for m in self.messages if m.sent and m.type.startswith(kind)]

    def starts(self) -> list[tuple[int, int | None]]:
        """(wave, excluded engine) of each START_DP_WAVE; an identity (two bytes) as the int that it stands for."""
        return [start_of(m.frames) for m in self.sent("START_DP_WAVE")]

    def announcements(self) -> list[tuple[int, bool]]:
        return [announcement_of(m.frames[0]) for m in self.sent("front_publish_wave_state")]

    def heard(self) -> list[tuple[int, bool]]:
        """The announcements that a front-end heard: those since one subscribed to that process."""
        heard: list[tuple[int, bool]] = []
        for incarnation in self.incarnations:
            types = [m.type for m in incarnation.messages]
            since = types.index("front_subscribe") if "front_subscribe" in types else len(types)
            heard += Recording(self.name, incarnation.messages[since:]).announcements()
        return heard

    def loads(self) -> list[Any]:
        return [msgspec.msgpack.decode(m.frames[0])[0] for m in self.sent("front_publish_counts")]


def start_of(frames: tuple[bytes, ...] | list[bytes]) -> tuple[int, int | None]:
    wave, excluded = msgspec.msgpack.decode(frames[1])
    return wave, int.from_bytes(excluded, "little") if isinstance(excluded, bytes) else excluded


def announcement_of(frame: bytes) -> tuple[int, bool]:
    counts, wave, running = msgspec.msgpack.decode(frame)
    assert counts is None
    return wave, running


@cache
def _file() -> dict[str, Any]:
    return dict(json.loads(CAPTURES.read_text()))


def _sequences() -> dict[str, Any]:
    found = dict(_file()["sequences"])
    for path in sorted(CAPTURES.parent.glob("*.json.gz")):
        found |= json.loads(gzip.decompress(path.read_bytes()))["sequences"]
    return found


def _message(raw: dict[str, Any]) -> Message:
    frames = tuple(bytes.fromhex(frame) for frame in raw["frames"])
    return Message(raw["t"], raw["role"], raw["dir"], raw["type"], frames)


@cache
def recordings() -> dict[str, Recording]:
    return {name: Recording(name, tuple(_message(m) for m in run["messages"])) for name, run in _sequences().items()}


def samples(kind: str) -> list[tuple[tuple[bytes, ...], Any]]:
    """(frames, decoded) of each recorded sample of a message type."""
    return [(tuple(bytes.fromhex(f) for f in s["frames"]), s["decoded"]) for s in _file()["samples"][kind]]
