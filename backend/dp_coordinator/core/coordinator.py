"""The coordinator's core: one input at a time, what to do about it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dp_coordinator.core import load, manual, observation, projections, recovery, waves
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
    EngineSubscribed,
    EngineUnsubscribed,
    Event,
    FrontEndSubscribed,
    FrontEndUnsubscribed,
    ManualStartRequested,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
    WaveMessage,
)
from dp_coordinator.core.observation import Evidence
from dp_coordinator.core.records import completion_record, no_such_engine, notable_record, outcome_record
from dp_coordinator.core.snapshot import RefusalKind, Remembered, Snapshot, WaveCause
from dp_coordinator.core.state import CoreState, ManualStarts, WaveLog
from dp_coordinator.core.waves import Outcome

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
                log=WaveLog(phase_since=now),
                manual=ManualStarts(timeout=manual_start_timeout, id_prefix=action_prefix),
            )
        )
        if resumed is not None:
            recovery.resume(self.state, resumed, now)

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
        self.dialect = Dialect.for_version(state.dialect)
        self._wave_rules = waves.rules(self.dialect)
        self._handlers: dict[type, Callable[[Any, float], Sequence[Effect]]] = {
            EngineStatsReported: self._on_stats,
            WaveCompleted: partial(self._on_wave_message, WaveMessage.WAVE_COMPLETE),
            StartWaveRequested: partial(self._on_wave_message, WaveMessage.START_WAVE),
            NewRequestNotified: partial(self._on_wave_message, WaveMessage.NEW_REQUEST),
            EngineSubscribed: self._on_engine_subscribed,
            EngineUnsubscribed: self._on_engine_unsubscribed,
            FrontEndSubscribed: self._on_front_end_subscribed,
            FrontEndUnsubscribed: self._on_front_end_unsubscribed,
            EngineCountChanged: self._on_engine_count_changed,
            ManualStartRequested: partial(manual.request, state),
        }

    # -- the three duties of the host ------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> Sequence[Effect]:
        """Take one input."""
        effects = self._handlers[type(event)](event, now)
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
        timed_out = manual.time_out(state.manual, now)
        if timed_out is not None:
            effects.append(outcome_record(timed_out))
        return effects

    def _publication_due(self) -> float | None:
        return load.deadline(self.state.load, engines_running=self.engines_running)

    # -- load ------------------------------------------------------------------------------------------------------

    def handle_reports(self, reports: Sequence[EngineStatsReported], now: float) -> Sequence[Effect]:
        """Take reports of load that arrived one after the other: as `handle` for each, but fast.

        A report never changes what is journalled. It is looked at for more than its counts only while somebody waits
        for ranks to be seen: a manual start, or a wave of which not all were.
        """
        state = self.state
        count = state.engine_count
        rejected = [r for r in reports if not 0 <= r.engine_index < count]
        if rejected:
            reports = [r for r in reports if 0 <= r.engine_index < count]
        notable = load.take(state.load, reports, now)
        wave = state.log.open
        watching = state.manual.pending is not None or (wave is not None and not wave.all_seen)
        if not rejected and not notable and not watching:
            return _NOTHING
        effects: list[Effect] = [no_such_engine(r, count) for r in rejected]
        if watching:
            for report in reports:
                seen = observation.evidence(report, count)
                if seen is not None:
                    effects.extend(self._saw_stepping(seen, now))
        effects.extend(notable_record(report, before) for report, before in notable)
        return effects

    def _on_stats(self, event: EngineStatsReported, now: float) -> Sequence[Effect]:
        return self.handle_reports((event,), now)

    def _saw_stepping(self, seen: Evidence, now: float) -> Sequence[Effect]:
        observation.saw_stepping(self.state, seen, now)
        observed = manual.saw_stepping(self.state.manual, seen, now)
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
            # Its sender runs already, by its own word; the others are only asked to.
            effects.extend(self._saw_stepping(Evidence((engine_index,), wave, collective=False), now))
        return effects

    def _completed(self, wave: int, engine_index: int | None, now: float) -> Sequence[Effect]:
        # Rank 0 says it after an all-reduce (core.py, `_has_global_unfinished_reqs`): every rank was in that wave.
        observed = self._saw_stepping(Evidence(range(self.engine_count), wave, collective=True), now)
        return (*observed, completion_record(observation.completed(self.state, wave, now), engine_index))

    # -- who is there ----------------------------------------------------------------------------------------------

    def _on_engine_subscribed(self, event: EngineSubscribed, now: float) -> Sequence[Effect]:
        state = self.state
        state.engines_subscribed += 1
        record = LogEvent("engine_subscribed", {"subscribed": state.engines_subscribed, "of": state.engine_count})
        if not state.ready:
            return (record, *self._become_ready(now))
        # To all, since a subscription does not say whose it is: engines ignore any READY but their first, from 0.18 on.
        ready = (SendReady(),) if self.dialect.ready_to_late_subscribers else ()
        return (*ready, record, *recovery.rejoin(state, now))

    def _become_ready(self, now: float) -> Sequence[Effect]:
        state = self.state
        if state.ready or state.engines_subscribed < state.engine_count:
            return _NOTHING
        state.ready = True
        load.begin(state.load, now)
        effects: list[Effect] = [SendReady(), LogEvent("ready_sent", {"engines": state.engine_count})]
        held, state.held = state.held, []
        for message, wave, engine_index in held:
            effects.extend(self._move(message, wave, engine_index, now))
        return effects

    def _on_engine_unsubscribed(self, event: EngineUnsubscribed, now: float) -> Sequence[Effect]:
        state = self.state
        if state.engines_subscribed == 0:
            return (Reject("unsubscribed_before_subscribed", "an engine unsubscribed, but none was subscribed"),)
        state.engines_subscribed -= 1
        return (LogEvent("engine_unsubscribed", {"subscribed": state.engines_subscribed, "of": state.engine_count}),)

    def _on_front_end_subscribed(self, event: FrontEndSubscribed, now: float) -> Sequence[Effect]:
        state = self.state
        state.front_ends += 1
        record = LogEvent("front_end_subscribed", {"front_ends": state.front_ends})
        if state.recovery is None or not state.wave_coordination:
            return (record,)
        # What it last heard may be lost wave changes ago, and the next load is up to five seconds away.
        return (record, PublishWaveState(self.current_wave, self.engines_running))

    def _on_front_end_unsubscribed(self, event: FrontEndUnsubscribed, now: float) -> Sequence[Effect]:
        state = self.state
        if state.front_ends == 0:
            return (Reject("unsubscribed_before_subscribed", "a front-end unsubscribed, but none was subscribed"),)
        state.front_ends -= 1
        return (LogEvent("front_end_unsubscribed", {"front_ends": state.front_ends}),)

    def _on_engine_count_changed(self, event: EngineCountChanged, now: float) -> Sequence[Effect]:
        state, before, after = self.state, self.engine_count, event.engine_count
        if not 1 <= after <= MAX_ENGINES:
            detail = f"cannot scale to {after} engines: 1 to {MAX_ENGINES} are possible"
            return (Reject("engine_count_out_of_range", detail),)
        state.engine_count = after
        load.resize(state.load, after, now)
        if after > before and self.dialect.growth_clears_running and self.engines_running:
            # New engines are at wave 0. A front-end told "running" would send no notice with a request to one of them,
            # and nothing would wake the others.
            state.waves.engines_running = False
            observation.stopped(state, now)
        record = LogEvent("engine_count_changed", {"before": before, "after": after})
        return (record, *self._become_ready(now), *recovery.rejoin(state, now))

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
        return self.state.engines_subscribed

    @property
    def ready(self) -> bool:
        """READY was sent."""
        return self.state.ready

    def start_blocked(self) -> tuple[RefusalKind, str] | None:
        """Why any manual start would be refused now; None when one would be accepted."""
        return manual.blocked(self.state)

    def snapshot(self, now: float) -> Snapshot:
        """The state as it is now, frozen."""
        return projections.snapshot(self.state, now)
