"""The coordinator's core: one input at a time, what to do about it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dp_coordinator.core import (
    corrections,
    load,
    manual,
    membership,
    moving,
    observation,
    peers,
    projections,
    recovery,
    reporting,
    whose,
)
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.effects import (
    Effect,
    LogEvent,
    PublishLoad,
    WriteJournal,
)
from dp_coordinator.core.events import (
    CorrectionRequested,
    EngineCountChanged,
    EngineStatsReported,
    Event,
    ManualStartRequested,
    NewRequestNotified,
    PeerConnected,
    PeerDisconnected,
    PeerIdentified,
    StartWaveRequested,
    WaveCompleted,
    WaveMessage,
)
from dp_coordinator.core.records import outcome_record
from dp_coordinator.core.scaling import MAX_ENGINES as MAX_ENGINES  # noqa: PLC0414  (also found here)
from dp_coordinator.core.snapshot import PeersView, RecoveryPhase, RefusalKind, Remembered, Snapshot, WaveCause
from dp_coordinator.core.state import CoreState, ManualStarts, WaveLog

_NOTHING: tuple[Effect, ...] = ()


class Coordinator:
    """The wave rules, the load and what was observed, for one deployment.

    `handle` and `tick` return the effects to perform, in order. All times are seconds on one monotonic clock.
    """

    def __init__(
        self,
        engine_count: int,
        dialect: Dialect,
        *,
        now: float = 0.0,
        wave_coordination: bool = True,
        min_stats_update_interval: float = 0.1,
        manual_start_timeout: float = 5.0,
        action_prefix: str = "start",
        resumed: Remembered | None = None,
    ) -> None:
        """Raise `ValueError` unless 1 <= engine_count <= 16,384.

        `wave_coordination` is off for dense models: load only. `min_stats_update_interval` is the least time between
        load publications. `action_prefix` makes ids of manual starts unique across coordinators. `resumed`
        is what an earlier incarnation of this coordinator wrote down last; its engine_count goes before the argument.
        """
        if resumed is not None:
            engine_count = resumed.engine_count
        if not 1 <= engine_count <= MAX_ENGINES:
            raise ValueError(f"engine_count must be 1 to {MAX_ENGINES}, not {engine_count}")
        self._begin(
            CoreState(
                dialect=dialect.version,
                engine_count=engine_count,
                journalled=resumed or Remembered(0, engine_count, ready=False),
                load=load.empty(engine_count, lockstep=wave_coordination, interval=min_stats_update_interval),
                log=WaveLog(state_since=now),
                manual=ManualStarts(timeout=manual_start_timeout, id_prefix=action_prefix),
            )
        )
        if resumed is not None:
            recovery.resume(self.state, resumed, now)
            observation.update(self.state, now)

    @classmethod
    def from_checkpoint(cls, state: CoreState) -> Coordinator:
        """One that goes on where another was at its `checkpoint`; the state is copied, not taken over."""
        core = cls.__new__(cls)
        core._begin(state.copy())
        return core

    def checkpoint(self) -> CoreState:
        """The whole state as it is now."""
        return self.state.copy()

    def _begin(self, state: CoreState) -> None:
        self.state = state
        """For hosts to look at; only the rules change it."""
        self._peers_seen = state.peers.changes, peers.view(state)
        dialect = self.dialect = Dialect.for_version(state.dialect)
        self._handlers: dict[type, Callable[[Any, float], Sequence[Effect]]] = {
            EngineStatsReported: self._on_stats,
            WaveCompleted: partial(moving.take, state, dialect, WaveMessage.WAVE_COMPLETE),
            StartWaveRequested: partial(moving.take, state, dialect, WaveMessage.START_WAVE),
            NewRequestNotified: partial(moving.take, state, dialect, WaveMessage.NEW_REQUEST),
            PeerConnected: partial(membership.connected, state, dialect),
            PeerIdentified: partial(peers.identified, state),
            PeerDisconnected: partial(membership.disconnected, state, dialect),
            EngineCountChanged: partial(membership.scale, state, dialect),
            CorrectionRequested: partial(corrections.request, state, dialect),
            ManualStartRequested: partial(manual.request, state),
        }

    # -- the three duties of the host ------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> Sequence[Effect]:
        """Take one input."""
        effects = self._handlers[type(event)](event, now)
        observation.update(self.state, now)
        return self._journalled(effects)

    def _journalled(self, effects: Sequence[Effect]) -> Sequence[Effect]:
        state, written = self.state, self.state.journalled
        if (  # part by part: START waits for this, and mostly nothing changed that would need a new `Remembered`
            written.current_wave == state.waves.current_wave
            and written.engine_count == state.engine_count
            and written.ready == state.ready
        ):
            return effects
        # Before everything else, whatever made them: what was sent and not written down would be unknown to the next
        # incarnation, and it would send READY a second time, or go back to a wave that the engines have left behind.
        state.journalled = projections.remembered(state)
        return (WriteJournal(state.journalled), *effects)

    def next_deadline(self) -> float | None:
        """When `tick` is due if no input comes before; None for never."""
        publication = self._publication_due()
        unanswered = observation.unanswered_deadline(self.state.log)
        timeout = manual.deadline(self.state.manual)
        if unanswered is None and timeout is None:  # nearly always: asked on every turn of the loop
            return publication
        return min(d for d in (publication, unanswered, timeout) if d is not None)

    def tick(self, now: float) -> Sequence[Effect]:
        """Do what is due by now."""
        state, effects = self.state, list[Effect]()
        due = self._publication_due()
        if due is not None and now >= due:
            counts = load.publish(state.load, now)
            effects.append(PublishLoad(counts, self.current_wave, self.engines_running, now - due))
        unanswered = observation.unanswered_deadline(state.log)
        if unanswered is not None and now >= unanswered:
            wave = state.log.open.number if state.log.open is not None else self.current_wave
            observation.stopped(state, now)
            effects.append(LogEvent("start_unanswered", {"wave": wave}))
            # It may have been the next wave's, by hand (manual.py): then front-ends are still told of this one.
            if self.engines_running:
                effects.append(observation.started(state, WaveCause.UNKNOWN, None, now))
            observation.update(state, now)
        timed_out = manual.time_out(state, now)
        if timed_out is not None:
            effects.append(outcome_record(timed_out))
        return effects

    def _publication_due(self) -> float | None:
        return load.deadline(self.state.load, engines_running=self.engines_running)

    # -- load ------------------------------------------------------------------------------------------------------

    def handle_reports(self, reports: Sequence[EngineStatsReported], now: float) -> Sequence[Effect]:
        """Take reports of load that arrived one after the other: as `handle` for each, but fast.

        A report changes what is journalled only where a wave message waits for a second witness (witnesses.py).
        """
        effects = reporting.take(self.state, self.dialect, reports, now)
        return self._journalled(effects) if effects else effects

    def _on_stats(self, event: EngineStatsReported, now: float) -> Sequence[Effect]:
        return reporting.take(self.state, self.dialect, (event,), now)

    def last_report(self, engine: int) -> EngineStatsReported | None:
        """What an engine said last; None when it does not exist, or never reported."""
        return load.last(self.state.load, engine) if 0 <= engine < self.engine_count else None

    # -- what others may see ---------------------------------------------------------------------------------------

    @property
    def current_wave(self) -> int:
        """The wave that runs, or that the next one will be."""
        return self.state.waves.current_wave

    @property
    def engines_running(self) -> bool:
        """The running flag as front-ends are told it."""
        return self.state.waves.engines_running

    @property
    def engine_count(self) -> int:
        """How many engines there must be."""
        return self.state.engine_count

    @property
    def engines_subscribed(self) -> int:
        """How many are there."""
        return whose.engines(self.state.peers)

    @property
    def ready(self) -> bool:
        """READY was sent."""
        return self.state.ready

    @property
    def rejoining(self) -> bool:
        """Engines are coming back to one that was restarted."""
        recovery = self.state.recovery
        return recovery is not None and recovery.phase is RecoveryPhase.REJOINING

    def start_blocked(self) -> tuple[RefusalKind, str] | None:
        """Why any manual start would be refused now; None when one would be accepted."""
        return manual.blocked(self.state, self._there())

    def snapshot(self, now: float) -> Snapshot:
        """The state as it is now, frozen."""
        return projections.snapshot(self.state, self._there(), now)

    def _there(self) -> PeersView:
        if self._peers_seen[0] != self.state.peers.changes:  # they change seldom, and may be thousands
            self._peers_seen = self.state.peers.changes, peers.view(self.state)
        return self._peers_seen[1]
