"""The read model: what the core knows, frozen. Times are the host's monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dp_coordinator.words import ActionState as ActionState  # noqa: PLC0414  (also found here)
from dp_coordinator.words import Phase as Phase  # noqa: PLC0414  (also found here)
from dp_coordinator.words import RecoveryPhase as RecoveryPhase  # noqa: PLC0414  (also found here)
from dp_coordinator.words import WaveCause as WaveCause  # noqa: PLC0414  (also found here)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What must outlive the process: the journal's record."""

    current_wave: int
    engine_count: int
    ready: bool
    """READY was sent, or was about to be: before vLLM 0.18 it must never be sent again."""


@dataclass(frozen=True, slots=True)
class Wave:
    """One wave as seen from the coordinator."""

    number: int
    cause: WaveCause
    cause_engine: int | None
    """The engine named by the message that caused it."""
    asked_at: float | None
    started_at: float | None
    """When engines_running became true; None when that was never announced."""
    ended_at: float | None
    completed: bool
    """False while open, and for one that was overtaken by a later wave without wave_complete."""
    peak_waiting: int
    peak_running: int


@dataclass(frozen=True, slots=True)
class StartAction:
    """A manual start that was accepted: what was asked and what was observed."""

    id: str
    wave: int
    reason: str
    caller: str
    state: ActionState
    asked_at: float
    engine_count: int
    seen: tuple[tuple[int, float], ...]
    """(engine_index, seconds after the ask) of each rank seen stepping, in that order."""
    collective: bool
    """True when a finished step, or wave_complete, was the evidence: both take every rank."""
    finished_at: float | None
    idempotency_key: str | None

    @property
    def silent(self) -> tuple[int, ...]:
        """Ranks not seen stepping so far."""
        seen = {rank for rank, _ in self.seen}
        return tuple(rank for rank in range(self.engine_count) if rank not in seen)


class RefusalKind(StrEnum):
    """Why a manual start was refused. The last two are invalid input, the others conflicts with the present state."""

    RUNNING = "running"
    PENDING = "pending"
    WAVE_MISMATCH = "wave_mismatch"
    NOT_READY = "not_ready"
    COORDINATION_OFF = "coordination_off"
    WAVE_INVALID = "wave_invalid"
    KEY_REUSED = "key_reused"


@dataclass(frozen=True, slots=True)
class StartRefusal:
    """A manual start that was not made."""

    kind: RefusalKind
    detail: str
    current_wave: int


@dataclass(frozen=True, slots=True)
class EngineColumns:
    """Per-engine values, one tuple per column, in index order; None where nothing was ever reported."""

    waiting: tuple[int | None, ...]
    running: tuple[int | None, ...]
    kv_cache_usage: tuple[float | None, ...]
    step_counter: tuple[int | None, ...]
    current_wave: tuple[int | None, ...]
    reported_at: tuple[float | None, ...]
    restarts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RecoveryState:
    """The recovery of a coordinator that came back."""

    phase: RecoveryPhase
    resumed_wave: int
    """The journalled wave it came back with."""
    resumed_at: float
    engines_back: int
    engines_expected: int
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a viewer may see, at one moment."""

    at: float
    dialect: str
    wave_coordination: bool
    ready: bool
    """READY was sent: every expected engine had subscribed."""
    current_wave: int
    engines_running: bool
    phase: Phase
    phase_since: float
    asked_at: float | None
    """When START was last broadcast for the wave that is open; None when none is."""
    stepping: tuple[int, ...]
    """Ranks seen stepping in the wave that is open."""
    start_blocked: str | None
    """Why a manual start would be refused; None when one would be accepted."""
    engine_count: int
    engines_subscribed: int
    front_ends: int
    waiting: int | None
    running: int | None
    engines: EngineColumns
    waves: tuple[Wave, ...]
    """Oldest first; the last one may be open."""
    actions: tuple[StartAction, ...]
    """Oldest first."""
    recovery: RecoveryState | None
    """None unless this coordinator came back from a crash."""
