"""The read model: what the core knows, frozen. Times are the host's monotonic seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dp_coordinator.core.events import Peer
from dp_coordinator.sourced import Origin, SourcesView
from dp_coordinator.words import ActionState as ActionState  # noqa: PLC0414  (also found here)
from dp_coordinator.words import Corrected, DeploymentState, PeerKind
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
class Connection:
    """A connection that there is."""

    peer: Peer
    since: float


@dataclass(frozen=True, slots=True)
class EndedConnection:
    """A connection that there was."""

    peer: Peer
    since: float
    at: float
    why: str


@dataclass(frozen=True, slots=True)
class PeersView:
    """Who is connected, and who is not any more."""

    connections: tuple[tuple[Connection, PeerKind, int | None], ...]
    """With what each is, and the engine whose it is, where that is known."""
    gone: Mapping[int, EndedConnection]
    """Engines that have gone, and how their connection ended."""
    missing_unnamed: int
    """How many more are missing that nobody can name."""
    surplus: int
    """How many more subscribe than there are engines, and are not known to join or to leave."""
    joining: tuple[int, ...]
    """Ranks beyond the engine count that subscribe already: SCALE_ELASTIC_EP comes after them."""
    rivals: Mapping[int, tuple[Peer, ...]]
    """Engine -> connections that both report as it."""
    unnamed: tuple[EndedConnection, ...] = ()
    """The subscriptions of the engines that are missing and cannot be named, where it is known which these were."""
    front_ends_left: tuple[EndedConnection, ...] = ()
    """The last front-ends that have gone, oldest first."""
    engines: int = 0
    """How many engines are there."""

    @property
    def missing(self) -> int:
        """How many engines are missing."""
        return len(self.gone) + self.missing_unnamed


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
    confirmed: bool = False
    """Something showed that all ranks stepped in it."""


@dataclass(frozen=True, slots=True)
class WaveEvidence:
    """What shows that the open wave runs; of the next one, while none is open, nothing."""

    number: int
    asked_at: float | None = None
    """When START was first broadcast for it."""
    announced_at: float | None = None
    """When front-ends were told that it runs."""
    joined: tuple[int, ...] = ()
    """Ranks that said that they are in it: by start_wave, or by a report of requests running."""
    confirmed_at: float | None = None
    confirmed_by: str | None = None
    """What showed that all ranks step: `rank 3, step 32`. A step takes every rank."""


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
    joined: tuple[tuple[int, float], ...]
    """(engine_index, seconds after the ask) of each rank that said that it is in the wave, in that order."""
    confirmed_by: str | None
    """What showed that all ranks step, in words; None while nothing did."""
    finished_at: float | None
    idempotency_key: str | None

    @property
    def silent(self) -> tuple[int, ...]:
        """Ranks of which nothing shows that they are in the wave."""
        if self.confirmed_by is not None:
            return ()
        joined = {rank for rank, _ in self.joined}
        return tuple(rank for rank in range(self.engine_count) if rank not in joined)


class RefusalKind(StrEnum):
    """Why a manual start was refused. The last three are invalid input, the others conflicts with the present state."""

    RUNNING = "running"
    PENDING = "pending"
    WAVE_MISMATCH = "wave_mismatch"
    COUNT_MISMATCH = "count_mismatch"
    NOT_READY = "not_ready"
    COORDINATION_OFF = "coordination_off"
    WAVE_INVALID = "wave_invalid"
    COUNT_INVALID = "count_invalid"
    KEY_REUSED = "key_reused"


@dataclass(frozen=True, slots=True)
class StartRefusal:
    """A manual start that was not made."""

    kind: RefusalKind
    detail: str
    current_wave: int


@dataclass(frozen=True, slots=True)
class Correction:
    """What an operator has set."""

    corrected: Corrected
    before: int
    after: int


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
    state: DeploymentState
    state_since: float
    wave: WaveEvidence
    start_blocked: str | None
    """Why a manual start would be refused; None when one would be accepted."""
    engine_count: int
    engines_subscribed: int
    """Distinct engines that are there."""
    front_ends: int
    peers: PeersView
    peers_version: int
    """Counts up whenever that changes."""
    waiting: int | None
    running: int | None
    engines: EngineColumns
    waves: tuple[Wave, ...]
    """Oldest first; the last one may be open."""
    actions: tuple[StartAction, ...]
    """Oldest first."""
    recovery: RecoveryState | None
    """None unless this coordinator came back from a crash."""
    sources: SourcesView | None = None
    """Put beside it for viewers (`Mailbox.seen`): the core knows nothing of it. None where no source was asked for."""
    provenance: tuple[Origin | None, ...] = ()
    """By whom the numbers of each rank in `engines` were told; None: nobody told any. Empty: by the engines, all."""
    watched: bool = False
    """There is no coordinator: all of this comes from sources."""
