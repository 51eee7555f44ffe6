"""The coordinator's core: one input at a time, what to do about it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dp_coordinator.core import load, manual, observation, peers, projections, recovery, scaling, waves
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.effects import (
    Effect,
    LogEvent,
    PublishLoad,
    PublishWaveState,
    Reject,
    SendReady,
    WriteJournal,
)
from dp_coordinator.core.events import (
    EngineCountChanged,
    EngineStatsReported,
    Event,
    ManualStartRequested,
    NewRequestNotified,
    Peer,
    PeerConnected,
    PeerDisconnected,
    PeerIdentified,
    StartWaveRequested,
    WaveCompleted,
    WaveMessage,
)
from dp_coordinator.core.observation import Evidence
from dp_coordinator.core.records import completion_record, no_such_engine, notable_record, outcome_record
from dp_coordinator.core.snapshot import RefusalKind, Remembered, Snapshot, WaveCause
from dp_coordinator.core.state import CoreState, ManualStarts, WaveLog
from dp_coordinator.core.waves import Outcome
from dp_coordinator.words import Channel

MAX_ENGINES = 16_384
"""More than any deployment; a SCALE message beyond it is a mistake, not a wish."""
HELD_BEFORE_READY = 1024

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
        self.dialect = Dialect.for_version(state.dialect)
        self._wave_rules = waves.rules(self.dialect)
        self._handlers: dict[type, Callable[[Any, float], Sequence[Effect]]] = {
            EngineStatsReported: self._on_stats,
            WaveCompleted: partial(self._on_wave_message, WaveMessage.WAVE_COMPLETE),
            StartWaveRequested: partial(self._on_wave_message, WaveMessage.START_WAVE),
            NewRequestNotified: partial(self._on_wave_message, WaveMessage.NEW_REQUEST),
            PeerConnected: self._on_connected,
            PeerIdentified: partial(peers.identified, state),
            PeerDisconnected: self._on_disconnected,
            EngineCountChanged: self._on_engine_count_changed,
            ManualStartRequested: partial(manual.request, state),
        }

    # -- the three duties of the host ------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> Sequence[Effect]:
        """Take one input."""
        effects = self._handlers[type(event)](event, now)
        state, written = self.state, self.state.journalled
        observation.update(state, now)
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
        return min((d for d in (publication, unanswered, timeout) if d is not None), default=None)

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

        A report never changes what is journalled. It is looked at for more than its counts only while somebody waits
        for evidence of a step: a manual start, or a wave that is not confirmed.
        """
        state = self.state
        count = state.engine_count
        rejected = [r for r in reports if not 0 <= r.engine_index < count]  # or too early, or too late
        if rejected:
            reports = [r for r in reports if 0 <= r.engine_index < count]
        notable = load.take(state.load, reports, now)
        wave = state.log.open
        watching = state.manual.pending is not None or (wave is not None and wave.confirmed_at is None)
        if not rejected and not notable and not watching:
            return _NOTHING
        effects: list[Effect] = [no_such_engine(r, count) for r in scaling.strangers(state, rejected, now)]
        if watching:
            for report in reports:
                seen = observation.evidence(report)
                if seen is not None:
                    effects.extend(self._saw(seen, now))
            observation.update(state, now)
        effects.extend(notable_record(report, before) for report, before in notable)
        return effects

    def _on_stats(self, event: EngineStatsReported, now: float) -> Sequence[Effect]:
        return self.handle_reports((event,), now)

    def _saw(self, seen: Evidence, now: float) -> Sequence[Effect]:
        observation.saw(self.state, seen, now)
        observed = manual.saw(self.state.manual, seen, now)
        return _NOTHING if observed is None else (outcome_record(observed),)

    # -- waves -----------------------------------------------------------------------------------------------------

    def _on_wave_message(
        self, message: WaveMessage, event: WaveCompleted | StartWaveRequested | NewRequestNotified, now: float
    ) -> Sequence[Effect]:
        state = self.state
        if not state.wave_coordination:
            return _NOTHING
        if state.ready:
            return self._move(message, event.wave, event.engine_index, now)
        # An engine's first message must be READY (core.py, `process_input_sockets`, asserts it), so START cannot go out
        # yet; and the notice must not be lost. In vLLM such messages wait in the socket.
        if len(state.held) >= HELD_BEFORE_READY:
            return (Reject("too_early", f"more than {HELD_BEFORE_READY} wave messages before all engines subscribed"),)
        state.held.append((message, event.wave, event.engine_index))
        return _NOTHING

    def _move(self, message: WaveMessage, wave: int, engine_index: int | None, now: float) -> Sequence[Effect]:
        """Do what the table says, in the order in which others wait for it.

        START first: an engine waits in its step until all have it. Then the wave state: front-ends send notices until
        they have it. What is only written down comes last.
        """
        state = self.state
        moved = waves.apply(self._wave_rules, state.waves, message, wave, engine_index)
        if moved.outcome is Outcome.REJECT:
            return (Reject("notice_not_spoken", "front-ends of vLLM 0.33 and later send no new-request notices"),)
        if message is WaveMessage.NEW_REQUEST:
            # Also while the engines run: a front-end that sends one has not heard of it.
            load.noticed(state.load, now)
        cause = WaveCause.FRONT_END if message is WaveMessage.NEW_REQUEST else WaveCause.ENGINE
        effects: list[Effect] = []
        if moved.start is not None:
            asked, exclude = moved.start
            effects.extend(observation.ask(state, asked, now, cause=cause, engine=engine_index, exclude=exclude))
        if moved.announce:
            effects.append(PublishWaveState(self.current_wave, self.engines_running))
        if moved.outcome is Outcome.COMPLETE:
            effects.extend(self._completed(wave, engine_index, now))
            # Last: the START that this may bring out is of the wave after the one that has just been closed.
            effects.extend(recovery.settle(state, now))
        elif message is WaveMessage.WAVE_COMPLETE:
            # Too late to move anything, but the wave it ends was not broken off, as it had seemed.
            late = observation.completed_late(state.log, wave)
            effects.extend(() if late is None else (completion_record(late, engine_index),))
        elif self.engines_running and moved.announce:
            effects.append(observation.started(state, cause, engine_index, now))
        if message is WaveMessage.START_WAVE and engine_index is not None and 0 <= engine_index < state.engine_count:
            # Its sender is in the wave, by its own word; the others are only asked to join.
            effects.extend(self._saw(Evidence(engine_index, wave), now))
        return effects

    def _completed(self, wave: int, engine_index: int | None, now: float) -> Sequence[Effect]:
        # Rank 0 says it after an all-reduce (core.py, `_has_global_unfinished_reqs`): every rank was in that wave.
        observed = self._saw(Evidence(None, wave, confirmed_by="the wave's end"), now)
        return (*observed, completion_record(observation.completed(self.state, wave, now), engine_index))

    # -- who is there ----------------------------------------------------------------------------------------------

    def _on_connected(self, event: PeerConnected, now: float) -> Sequence[Effect]:
        state = self.state
        if event.peer.id in state.peers.connected:
            return _NOTHING
        before = peers.engines(state.peers)
        record = peers.connected(state, event, now)
        again = self._may_ask(event.peer) and peers.fills_gap(state.peers, event.peer)
        if peers.engines(state.peers) > before:
            return self._engine_came(record, again=again, now=now)
        mended = self._mend(now) if again else _NOTHING
        if event.peer.channel is not Channel.FRONT_PUBLISH or not state.wave_coordination or state.recovery is None:
            return (*mended, *record)
        # What it last heard may be lost wave changes ago, and the next load is up to five seconds away.
        return (*mended, *record, PublishWaveState(self.current_wave, self.engines_running))

    def _engine_came(self, record: Sequence[Effect], *, again: bool, now: float) -> Sequence[Effect]:
        state = self.state
        if not state.ready:
            return (*record, *self._become_ready(now))
        # To all, for a publication cannot be addressed: engines ignore any READY but their first, from 0.18 on.
        ready = (SendReady(),) if self.dialect.ready_to_late_subscribers else ()
        rejoined = recovery.rejoin(state, now)
        return (*ready, *record, *(rejoined or (self._mend(now) if again else _NOTHING)))

    def _on_disconnected(self, event: PeerDisconnected, now: float) -> Sequence[Effect]:
        connection = self.state.peers.connected.get(event.peer_id)
        if connection is None:
            return _NOTHING
        replaced = self._may_ask(connection.peer) and peers.leaves_gap(self.state, connection.peer)
        record = peers.disconnected(self.state, event, now)
        return (*self._mend(now), *record) if replaced else record

    def _may_ask(self, peer: Peer) -> bool:
        """Whether what was lost on its way may be a START, or have asked for one. From 0.33 on no front-end does."""
        return peer.channel is not Channel.FRONT_PUBLISH or self.dialect.notices_accepted

    def _mend(self, now: float) -> Sequence[Effect]:
        # Before 0.18 an engine that comes again may be a new process, and READY cannot be sent to it: START kills it.
        return recovery.mend(self.state, now) if self.dialect.ready_to_late_subscribers else _NOTHING

    def _become_ready(self, now: float) -> Sequence[Effect]:
        state = self.state
        if state.ready or peers.engines(state.peers) < state.engine_count:
            return _NOTHING
        state.ready = True
        load.begin(state.load, now)
        effects: list[Effect] = [SendReady(), LogEvent("ready_sent", {"engines": state.engine_count})]
        held, state.held = state.held, []
        for message, wave, engine_index in held:
            effects.extend(self._move(message, wave, engine_index, now))
        return effects

    def _on_engine_count_changed(self, event: EngineCountChanged, now: float) -> Sequence[Effect]:
        state, before, after = self.state, self.engine_count, event.engine_count
        if not 1 <= after <= MAX_ENGINES:
            detail = f"cannot scale to {after} engines: 1 to {MAX_ENGINES} are possible"
            return (Reject("engine_count_out_of_range", detail),)
        state.engine_count = after
        load.resize(state.load, after, now)
        peers.resized(state)
        early = scaling.resized(state, before, now)
        if after > before and self.dialect.growth_clears_running and self.engines_running:
            # New engines are at wave 0. A front-end told "running" would send no notice with a request to one of them,
            # and nothing would wake the others.
            state.waves.engines_running = False
            observation.stopped(state, now)
        record = LogEvent("engine_count_changed", {"before": before, "after": after})
        reported = self.handle_reports(early, now) if early else _NOTHING
        return (record, *reported, *self._become_ready(now), *recovery.rejoin(state, now))

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
        return peers.engines(self.state.peers)

    @property
    def ready(self) -> bool:
        """READY was sent."""
        return self.state.ready

    def start_blocked(self) -> tuple[RefusalKind, str] | None:
        """Why any manual start would be refused now; None when one would be accepted."""
        return manual.blocked(self.state)

    def snapshot(self, now: float) -> Snapshot:
        """The state as it is now, frozen."""
        if self._peers_seen[0] != self.state.peers.changes:  # they change seldom, and may be thousands
            self._peers_seen = self.state.peers.changes, peers.view(self.state)
        return projections.snapshot(self.state, self._peers_seen[1], now)
