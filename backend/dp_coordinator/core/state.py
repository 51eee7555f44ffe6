"""The core's whole state as plain data: one dataclass for each part, together one `CoreState`.

The rules stand beside it (waves.py, load.py, observation.py, manual.py, recovery.py) and keep nothing of their own. So
a checkpoint is a copy of this, and what else leaves the core of it (the journal's record, the snapshot) is a projection
(projections.py). A recorder may encode it, and decode it again by its type. Times are the host's monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from dp_coordinator.core.effects import EngineCounts
from dp_coordinator.core.events import ManualStartRequested, WaveMessage
from dp_coordinator.core.snapshot import Phase, RecoveryPhase, Remembered, StartAction, Wave, WaveCause


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
    stepping: dict[int, float] = field(default_factory=dict)
    """Rank -> when it was first seen stepping."""
    all_seen: bool = False


@dataclass(slots=True)
class WaveLog(_Part):
    """The open wave, the ones before it, and the phase that follows from them; observation.py."""

    phase_since: float
    phase: Phase = Phase.PAUSED
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
    seen: dict[int, float] = field(default_factory=dict)
    """Rank -> when it was first seen stepping."""
    collective: bool = False
    """Something that takes every rank was among the evidence."""


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
    engines_subscribed: int = 0
    front_ends: int = 0
    held: list[tuple[WaveMessage, int, int | None]] = field(default_factory=list)
    """Wave messages that came before READY: (message, its wave, the engine it names)."""

    @property
    def wave_coordination(self) -> bool:
        """Off for dense models: load only."""
        return self.load.lockstep
