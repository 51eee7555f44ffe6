"""Inputs of the core, in the past tense. Waves and steps are counts, indexes count engines from 0."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from dp_coordinator.words import Channel, Corrected


class WaveMessage(Enum):
    """The three inputs that can move the wave."""

    NEW_REQUEST = "new-request notice"
    WAVE_COMPLETE = "wave_complete"
    START_WAVE = "start_wave"

    __hash__ = object.__hash__  # Enum's own is a Python function, and START waits for it


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of one connection, as the kernel and libzmq know it."""

    id: int
    """Never used again for another connection of this coordinator."""
    channel: Channel
    host: str
    """Its IP address; empty for ipc, which is this machine."""
    address: str
    """Where it connects from: `10.0.0.7:51234`, or `ipc`."""
    socket_type: str = ""
    """What it says that it is: XSUB (vLLM's engines and front-ends), SUB (a tap), PUSH; empty before it says so."""
    pid: int | None = None
    """Its process, where the kernel tells (ipc)."""
    title: str = ""
    """That process's title, such as `VLLM::EngineCore_DP3`, where it can be read."""
    engine_index: int | None = None
    """The engine that the title names."""
    uid: int | None = None
    """Its process's user, where the kernel tells (ipc)."""

    @property
    def name(self) -> str:
        """For people: `pid 2919 VLLM::EngineCore_DP3`, or `10.0.0.7:51234`."""
        return self.address if self.pid is None else f"pid {self.pid} {self.title}".rstrip()


@dataclass(slots=True)
class PeerConnected:
    """A connection was made to back_output, or one to another socket subscribed."""

    peer: Peer


@dataclass(slots=True)
class PeerIdentified:
    """A connection to back_output reports as this engine; told again when it takes the place of another one."""

    peer_id: int
    engine_index: int


@dataclass(slots=True)
class PeerDisconnected:
    """A connection ended, or took its subscription back."""

    peer_id: int
    why: str
    """`connection closed`, `timed out` or `unsubscribed`."""


@dataclass(slots=True)
class EngineStatsReported:
    """An engine's request counts, stamped with the step and wave at which they were taken."""

    engine_index: int
    waiting: int
    running: int
    kv_cache_usage: float
    step_counter: int
    current_wave: int


@dataclass(slots=True)
class WaveCompleted:
    """Rank 0 saw the all-reduce that ends a wave say that no rank has unfinished requests."""

    engine_index: int
    wave: int


@dataclass(slots=True)
class StartWaveRequested:
    """An engine began (or must begin) a wave and asks that all others join."""

    engine_index: int
    wave: int


@dataclass(slots=True)
class NewRequestNotified:
    """A front-end sent a request to an engine while it believed the engines paused at `wave`.

    `engine_index` is None when the front-end named an engine that does not exist.
    """

    engine_index: int | None
    wave: int


@dataclass(slots=True)
class EngineCountChanged:
    """SCALE_ELASTIC_EP: engines were added or removed; new ones have subscribed already."""

    engine_count: int


@dataclass(slots=True)
class ManualStartRequested:
    """A person or program asks that all engines be woken. Answered with `StartAction` or `StartRefusal`."""

    reason: str
    caller: str
    expected_wave: int | None = None
    """Refuse unless this is the current wave."""
    wave: int | None = None
    """The wave to start: the current one (None) or the one after it."""
    idempotency_key: str | None = None


@dataclass(slots=True)
class CorrectionRequested:
    """An operator who knows better sets the wave or the engine count. Answered with `Correction` or `StartRefusal`."""

    corrected: Corrected
    value: int
    expected: int
    """Refuse unless this is what it is now."""
    reason: str
    caller: str


Event: TypeAlias = (
    PeerConnected
    | PeerIdentified
    | PeerDisconnected
    | EngineStatsReported
    | WaveCompleted
    | StartWaveRequested
    | NewRequestNotified
    | EngineCountChanged
    | ManualStartRequested
    | CorrectionRequested
)
