"""Outputs of the core, in the imperative. The host performs them in the order given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from dp_coordinator.core.snapshot import Correction, Remembered, StartAction, StartRefusal, WaveCause

EngineCounts: TypeAlias = tuple[int, int, float]
"""(waiting, running, kv_cache_usage) of one engine; zeros for one that never reported, as vLLM publishes it."""


@dataclass(frozen=True, slots=True)
class WriteJournal:
    """Write down what must outlive the process, before anything that follows from it is sent."""

    state: Remembered


@dataclass(frozen=True, slots=True)
class SendReady:
    """Send READY to every engine subscribed."""


@dataclass(frozen=True, slots=True)
class BroadcastStartWave:
    """Send START_DP_WAVE to every engine; the excluded one ignores it."""

    wave: int
    exclude_engine_index: int | None
    cause: WaveCause


@dataclass(frozen=True, slots=True)
class PublishWaveState:
    """Tell front-ends at once that the wave or the running state changed (counts are nil)."""

    current_wave: int
    engines_running: bool


@dataclass(frozen=True, slots=True)
class PublishLoad:
    """Publish every engine's counts, in index order, with the wave state."""

    counts: tuple[EngineCounts, ...]
    current_wave: int
    engines_running: bool
    late_by: float
    """Seconds between the deadline and now."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Append to the event log. `fields` are JSON-like values; None is meaningful and kept."""

    kind: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Reject:
    """The input was understood but is not acceptable: count it under `kind` and drop it."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the command that is being handled."""

    value: StartAction | StartRefusal | Correction


Effect: TypeAlias = (
    WriteJournal | SendReady | BroadcastStartWave | PublishWaveState | PublishLoad | LogEvent | Reject | Answer
)
