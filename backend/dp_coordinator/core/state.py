"""The core's whole state as plain data: one dataclass for each part, together one `CoreState`.

The rules stand beside it (waves.py, load.py, observation.py, manual.py, recovery.py) and keep nothing of their own. So
a checkpoint is a copy of this, and what else leaves the core of it (the journal's record, the snapshot) is a projection
(projections.py). A recorder may encode it, and decode it again by its type. Times are the host's monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, Self

from dp_coordinator.core.effects import EngineCounts
from dp_coordinator.core.events import EngineStatsReported, ManualStartRequested, WaveMessage
from dp_coordinator.core.snapshot import (
    Connection,
    EndedConnection,
    RecoveryPhase,
    Remembered,
    StartAction,
    Wave,
    WaveCause,
)
from dp_coordinator.words import Channel, DeploymentState


@dataclass(slots=True)
class _Part:
    def copy(self) -> Self:
        """The state as it is now. Quick: containers are copied, but not what is in them, for that never changes."""
        return replace(self, **{each.name: _copied(getattr(self, each.name)) for each in fields(self)})


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, _Part | list | dict) else value


@dataclass(slots=True)
class Waves(_Part):
    """What front-ends are told of the waves; waves.py moves it."""

    current_wave: int = 0
    """The wave that runs, or that the next one will be."""
    engines_running: bool = False


class WaveSaid(NamedTuple):
    """A wave message."""

    message: WaveMessage
    wave: int
    engine_index: int | None
    """The engine that it names."""
    at: float
    seconded: bool = False
    """That engine has reported the same since."""


@dataclass(slots=True)
class Load(_Part):
    """What each engine last said, by index, and what of it front-ends have not heard yet; load.py."""

    lockstep: bool
    """Wave coordination is on: the engines step together."""
    interval: float
    """Least seconds between publications of changes."""
    counts: list[EngineCounts]
    steps: list[tuple[int, int]]
    """(wave, step) of each engine's newest report."""
    reported_at: list[float | None]
    restarts: list[int]
    newest_step: tuple[int, int]
    """The latest (wave, step) that any engine's newest report has."""
    total_waiting: int = 0
    total_running: int = 0
    peak_waiting: int = 0
    peak_running: int = 0
    """Highest totals since the open wave began."""
    whole_step: list[EngineCounts] | None = None
    """The last whole step, until it is published."""
    changed_at: float | None = None
    """When the first change came that is not published yet; None when there is none."""
    noticed_at: float | None = None
    """When the last new-request notice was taken."""
    published_at: float | None = None
    """None until all engines have subscribed."""


@dataclass(slots=True)
class OpenWave(_Part):
    """The wave that was asked for or runs now."""

    number: int
    cause: WaveCause
    cause_engine: int | None
    asked_at: float | None = None
    started_at: float | None = None
    joined: dict[int, float] = field(default_factory=dict)
    """Rank -> when it first said that it is in the wave."""
    working: bool = False
    """Some rank said that it has requests running in it."""
    confirmed_at: float | None = None
    confirmed_by: str | None = None
    """What showed that all ranks step, in words."""


@dataclass(slots=True)
class WaveLog(_Part):
    """The open wave, the ones before it, and what the deployment does as it follows from them; observation.py."""

    state_since: float
    state: DeploymentState = DeploymentState.WAITING
    open: OpenWave | None = None
    closed: tuple[Wave, ...] = ()
    """Oldest first."""
    asked_again_at: float | None = None
    """When START was last broadcast for the open wave."""


@dataclass(slots=True)
class PendingStart(_Part):
    """The manual start that is being watched."""

    action_id: str
    request: ManualStartRequested
    wave: int
    engine_count: int
    asked_at: float
    joined: dict[int, float] = field(default_factory=dict)
    """Rank -> when it first said that it is in the wave."""
    confirmed_by: str | None = None


@dataclass(slots=True)
class ManualStarts(_Part):
    """Starts by hand; manual.py. Both dicts are in order of age."""

    timeout: float
    id_prefix: str
    made: int = 0
    pending: PendingStart | None = None
    finished: dict[str, StartAction] = field(default_factory=dict)
    """By id."""
    by_key: dict[str, tuple[ManualStartRequested, str]] = field(default_factory=dict)
    """Idempotency key -> the request that used it, and the id of what it made."""


@dataclass(slots=True)
class Recovery(_Part):
    """How far a coordinator that came back has got; recovery.py."""

    resumed_wave: int
    resumed_at: float
    phase: RecoveryPhase = RecoveryPhase.REJOINING
    finished_at: float | None = None


@dataclass(slots=True)
class Peers(_Part):
    """Who is connected; peers.py. Connections by their ids, engines by index."""

    changes: int = 0
    """Counts up with every change of what follows."""
    connected: dict[int, Connection] = field(default_factory=dict)
    reports_as: dict[int, int] = field(default_factory=dict)
    """Connection to back_output -> the engine that it reports as."""
    newest: dict[int, int] = field(default_factory=dict)
    """Engine -> the connection that began to report as it last."""
    replaced: dict[int, int] = field(default_factory=dict)
    """Connections that another one took the place of, though they have not ended -> the engine."""
    rivals: dict[int, list[int]] = field(default_factory=dict)
    """Engine -> two connections that report as it in turn."""
    lost: dict[int, EndedConnection] = field(default_factory=dict)
    """Engine -> how its connection ended, until it is there again."""
    lost_unnamed: list[EndedConnection] = field(default_factory=list)
    """The last subscriptions that ended of engines that nobody could name, until no engine is missing."""
    front_ends_left: list[EndedConnection] = field(default_factory=list)
    """The last front-ends that have gone."""
    subscriptions: int = 0
    """XSUB connections to back_publish."""
    taps_at_engines: int = 0
    """Other connections to back_publish."""
    outputs: int = 0
    """Connections to back_output."""
    front_ends: int = 0
    broken: dict[Channel, int] = field(default_factory=dict)
    """Connections of members that ended, and whose place nobody has taken yet."""


@dataclass(slots=True)
class Scaled(_Part):
    """Ranks beyond the engine count, those that were told to go and those that come before their time; scaling.py."""

    before: int = 0
    """The engine count before it was last made smaller."""
    at: float = 0.0
    early: dict[int, EngineStatsReported] = field(default_factory=dict)
    """The newest report of each rank that joins."""
    awaited: tuple[int, float] | None = None
    """The engine count of a SCALE that waits for its engines, and when it came."""

    def leaves(self, engine: int, since: float) -> bool:
        """Whether a rank that was there `since` then is one that was told to go."""
        return 0 <= engine < self.before and since <= self.at


@dataclass(slots=True)
class CoreState(_Part):
    """Everything that a coordinator knows."""

    dialect: str
    """The vLLM version that is spoken."""
    engine_count: int
    journalled: Remembered
    """What was written down last."""
    load: Load
    log: WaveLog
    manual: ManualStarts
    waves: Waves = field(default_factory=Waves)
    recovery: Recovery | None = None
    """None in a first incarnation, and in one that came back before READY had been sent."""
    ready: bool = False
    """READY was sent."""
    start_again: WaveCause | None = None
    """Why START goes out once more after the next wave_complete; recovery.py."""
    peers: Peers = field(default_factory=Peers)
    scaled: Scaled = field(default_factory=Scaled)
    held: dict[tuple[bool, int | None], WaveSaid] = field(default_factory=dict)
    """Wave messages that wait for READY or for a second witness, the newest of each source; witnesses.py."""

    @property
    def wave_coordination(self) -> bool:
        """Off for dense models: load only."""
        return self.load.lockstep
