"""Inputs of the core, in the past tense. Waves and steps are counts, indexes count engines from 0."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class WaveMessage(Enum):
    """The three inputs that can move the wave."""

    NEW_REQUEST = "new-request notice"
    WAVE_COMPLETE = "wave_complete"
    START_WAVE = "start_wave"

    __hash__ = object.__hash__  # Enum's own is a Python function, and START waits for it


@dataclass(slots=True)
class EngineSubscribed:
    """A `\\x01` arrived on back_publish. It does not say which engine it was."""


@dataclass(slots=True)
class EngineUnsubscribed:
    """A `\\x00` arrived on back_publish, or the connection behind a subscription went away."""


@dataclass(slots=True)
class FrontEndSubscribed:
    """A `\\x01` arrived on front_publish."""


@dataclass(slots=True)
class FrontEndUnsubscribed:
    """A `\\x00` arrived on front_publish, or the connection behind a subscription went away."""


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


Event: TypeAlias = (
    EngineSubscribed
    | EngineUnsubscribed
    | FrontEndSubscribed
    | FrontEndUnsubscribed
    | EngineStatsReported
    | WaveCompleted
    | StartWaveRequested
    | NewRequestNotified
    | EngineCountChanged
    | ManualStartRequested
)
