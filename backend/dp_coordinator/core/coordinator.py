"""The coordinator's core: one input at a time, what to do about it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.effects import (
    Answer,
    BroadcastStartWave,
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
)
from dp_coordinator.core.load import LoadTable
from dp_coordinator.core.manual import ManualStarts
from dp_coordinator.core.observation import WaveLog
from dp_coordinator.core.records import completion_record, no_such_engine, notable_record, outcome_record
from dp_coordinator.core.recovery import Recovery, Remembered
from dp_coordinator.core.snapshot import (
    RecoveryPhase,
    RecoveryState,
    RefusalKind,
    Snapshot,
    StartAction,
    StartRefusal,
    WaveCause,
)
from dp_coordinator.core.waves import Message, Outcome, WaveState

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
        self.dialect = dialect
        self.wave_coordination = wave_coordination
        self.engine_count = engine_count
        self.engines_subscribed = 0
        self.front_ends = 0
        self.ready = False
        self._waves = WaveState(dialect)
        self._load = LoadTable(engine_count, lockstep=wave_coordination, interval=min_stats_update_interval)
        self._log = WaveLog(now, self._load)
        self._manual = ManualStarts(timeout=manual_start_timeout, id_prefix=action_prefix)
        self._held: list[Event] = []
        self._recovery: Recovery | None = None
        if resumed is not None:
            self._resume(resumed, now)
        self._written = self._remembered()
        self._handlers: dict[type, Callable[[Any, float], Sequence[Effect]]] = {
            EngineStatsReported: self._on_stats,
            WaveCompleted: partial(self._on_wave_message, Message.WAVE_COMPLETE, WaveCause.ENGINE),
            StartWaveRequested: partial(self._on_wave_message, Message.START_WAVE, WaveCause.ENGINE),
            NewRequestNotified: partial(self._on_wave_message, Message.NEW_REQUEST, WaveCause.FRONT_END),
            EngineSubscribed: self._on_engine_subscribed,
            EngineUnsubscribed: self._on_engine_unsubscribed,
            FrontEndSubscribed: self._on_front_end_subscribed,
            FrontEndUnsubscribed: self._on_front_end_unsubscribed,
            EngineCountChanged: self._on_engine_count_changed,
            ManualStartRequested: self._on_manual_start,
        }

    @property
    def current_wave(self) -> int:
        """The wave that runs, or that the next one will be."""
        return self._waves.current_wave

    @property
    def engines_running(self) -> bool:
        """The running flag as front-ends are told it."""
        return self._waves.engines_running

    # -- the three duties of the host ------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> Sequence[Effect]:
        """Take one input."""
        effects = self._handlers[type(event)](event, now)
        before = self._written
        if (  # part by part: START waits for this, and mostly nothing changed that would need a new `Remembered`
            before.current_wave == self._waves.current_wave
            and before.engine_count == self.engine_count
            and before.ready == self.ready
        ):
            return effects
        state = self._written = self._remembered()
        return (WriteJournal(state), *effects)

    def next_deadline(self) -> float | None:
        """When `tick` is due if no input comes before; None for never."""
        load = self._load.deadline()
        unanswered = self._log.unanswered_deadline()
        manual = self._manual.deadline()
        if unanswered is None and manual is None:  # nearly always: asked on every turn of the loop
            return load
        return min((d for d in (load, unanswered, manual) if d is not None), default=None)

    def tick(self, now: float) -> Sequence[Effect]:
        """Do what is due by now."""
        effects: list[Effect] = []
        due = self._load.deadline()
        if due is not None and now >= due:
            counts = self._load.publish(now)
            effects.append(PublishLoad(counts, self.current_wave, self.engines_running, now - due))
        unanswered = self._log.unanswered_deadline()
        if unanswered is not None and now >= unanswered:
            wave = self._log.open.number if self._log.open is not None else self.current_wave
            self._log.stopped(now)
            effects.append(LogEvent("start_unanswered", {"wave": wave}))
        timed_out = self._manual.time_out(now)
        if timed_out is not None:
            effects.append(outcome_record(timed_out))
        return effects

    # -- load ------------------------------------------------------------------------------------------------------

    def handle_reports(self, reports: Sequence[EngineStatsReported], now: float) -> Sequence[Effect]:
        """Take reports of load that arrived one after the other: as `handle` for each, but fast."""
        count = self.engine_count
        rejected = [r for r in reports if not 0 <= r.engine_index < count]
        if rejected:
            reports = [r for r in reports if 0 <= r.engine_index < count]
        notable = self._load.take(reports, now)
        wave = self._log.open
        watching = self._manual.pending or (wave is not None and not wave.all_seen)
        if not rejected and not notable and not watching:
            return _NOTHING
        effects: list[Effect] = [no_such_engine(r, count) for r in rejected]
        if watching:
            for report in reports:
                effects.extend(self._observe_report(report, now))
        effects.extend(notable_record(report, before) for report, before in notable)
        return effects

    def _on_stats(self, event: EngineStatsReported, now: float) -> Sequence[Effect]:
        return self.handle_reports((event,), now)

    def _observe_report(self, event: EngineStatsReported, now: float) -> Sequence[Effect]:
        if event.step_counter >= 1:
            return self._saw_stepping(range(self.engine_count), event.current_wave, now, collective=True)
        if event.running >= 1:
            return self._saw_stepping((event.engine_index,), event.current_wave, now, collective=False)
        return _NOTHING

    def _saw_stepping(
        self, ranks: range | tuple[int, ...], wave: int, now: float, *, collective: bool
    ) -> Sequence[Effect]:
        if self._log.open is not None and wave >= self._log.open.number:
            self._log.saw_stepping(ranks, self.engine_count, now)
        observed = self._manual.saw_stepping(ranks, wave, now, collective=collective)
        return _NOTHING if observed is None else (outcome_record(observed),)

    # -- waves -----------------------------------------------------------------------------------------------------

    def _on_wave_message(
        self,
        message: Message,
        cause: WaveCause,
        event: WaveCompleted | StartWaveRequested | NewRequestNotified,
        now: float,
    ) -> Sequence[Effect]:
        if not self.wave_coordination:
            return _NOTHING
        if not self.ready:
            # An engine's first message must be READY, so START cannot go out yet; and the notice must not be lost.
            if len(self._held) >= HELD_BEFORE_READY:
                return (
                    Reject("too_early", f"more than {HELD_BEFORE_READY} wave messages before all engines subscribed"),
                )
            self._held.append(event)
            return _NOTHING
        return self._move(message, cause, event.wave, event.engine_index, now)

    def _move(
        self, message: Message, cause: WaveCause, wave: int, engine_index: int | None, now: float
    ) -> Sequence[Effect]:
        moved = self._waves.apply(message, wave, engine_index)
        if moved.outcome is Outcome.REJECT:
            return (Reject("notice_not_spoken", "front-ends of vLLM 0.33 and later send no new-request notices"),)
        effects: list[Effect] = []
        if moved.start is not None:
            effects.extend(self._start(*moved.start, cause, engine_index, now))
        if moved.announce:
            effects.append(PublishWaveState(moved.current_wave, moved.engines_running))
        if moved.outcome is Outcome.COMPLETE:
            effects.extend(self._completed(wave, engine_index, now))
            effects.extend(self._settle(now))
        elif message is Message.WAVE_COMPLETE:
            late = self._log.completed_late(wave)
            effects.extend(() if late is None else (completion_record(late, engine_index),))
        elif moved.engines_running and moved.announce:
            self._log.started(moved.current_wave, cause, engine_index, now)
            fields = {"wave": moved.current_wave, "cause": cause.value, "engine": engine_index}
            effects.append(LogEvent("wave_started", fields))
        if message is Message.START_WAVE and engine_index is not None and 0 <= engine_index < self.engine_count:
            effects.extend(self._saw_stepping((engine_index,), wave, now, collective=False))
        return effects

    def _start(
        self, wave: int, exclude: int | None, cause: WaveCause, engine_index: int | None, now: float
    ) -> Sequence[Effect]:
        start = BroadcastStartWave(wave, exclude, cause)
        if not self._log.asked(wave, cause, engine_index, now):
            return (start,)
        fields = {"wave": wave, "cause": cause.value, "engine": engine_index, "excluded": exclude}
        return (start, LogEvent("wave_asked", fields))

    def _completed(self, wave: int, engine_index: int | None, now: float) -> Sequence[Effect]:
        observed = self._saw_stepping(range(self.engine_count), wave, now, collective=True)
        return (*observed, completion_record(self._log.completed(wave, now), engine_index))

    # -- who is there ----------------------------------------------------------------------------------------------

    def _on_engine_subscribed(self, event: EngineSubscribed, now: float) -> Sequence[Effect]:
        self.engines_subscribed += 1
        record = LogEvent("engine_subscribed", {"subscribed": self.engines_subscribed, "of": self.engine_count})
        if not self.ready:
            return (record, *self._become_ready(now))
        ready = (SendReady(),) if self.dialect.ready_to_late_subscribers else ()
        return (*ready, record, *self._rejoin(now))

    def _become_ready(self, now: float) -> Sequence[Effect]:
        if self.ready or self.engines_subscribed < self.engine_count:
            return _NOTHING
        self.ready = True
        self._load.begin(now)
        effects: list[Effect] = [SendReady(), LogEvent("ready_sent", {"engines": self.engine_count})]
        held, self._held = self._held, []
        for event in held:
            effects.extend(self.handle(event, now))
        return effects

    def _on_engine_unsubscribed(self, event: EngineUnsubscribed, now: float) -> Sequence[Effect]:
        if self.engines_subscribed == 0:
            return (Reject("unsubscribed_before_subscribed", "an engine unsubscribed, but none was subscribed"),)
        self.engines_subscribed -= 1
        return (LogEvent("engine_unsubscribed", {"subscribed": self.engines_subscribed, "of": self.engine_count}),)

    def _on_front_end_subscribed(self, event: FrontEndSubscribed, now: float) -> Sequence[Effect]:
        self.front_ends += 1
        record = LogEvent("front_end_subscribed", {"front_ends": self.front_ends})
        if self._recovery is None or not self.wave_coordination:
            return (record,)
        # What it last heard may be lost wave changes ago, and the next load is up to five seconds away.
        return (record, PublishWaveState(self.current_wave, self.engines_running))

    def _on_front_end_unsubscribed(self, event: FrontEndUnsubscribed, now: float) -> Sequence[Effect]:
        if self.front_ends == 0:
            return (Reject("unsubscribed_before_subscribed", "a front-end unsubscribed, but none was subscribed"),)
        self.front_ends -= 1
        return (LogEvent("front_end_unsubscribed", {"front_ends": self.front_ends}),)

    def _on_engine_count_changed(self, event: EngineCountChanged, now: float) -> Sequence[Effect]:
        before, after = self.engine_count, event.engine_count
        if not 1 <= after <= MAX_ENGINES:
            return (
                Reject(
                    "engine_count_out_of_range", f"cannot scale to {after} engines: 1 to {MAX_ENGINES} are possible"
                ),
            )
        self.engine_count = after
        self._load.resize(after, now)
        if after > before and self.dialect.growth_clears_running and self.engines_running:
            self._waves.engines_running = False
            self._log.stopped(now)
        return (
            LogEvent("engine_count_changed", {"before": before, "after": after}),
            *self._become_ready(now),
            *self._rejoin(now),
        )

    # -- after a crash ---------------------------------------------------------------------------------------------

    def _resume(self, resumed: Remembered, now: float) -> None:
        self._waves.current_wave = resumed.current_wave
        if resumed.ready:
            self.ready = True
            self._load.resume(now)
            self._recovery = Recovery(resumed, now)

    def _remembered(self) -> Remembered:
        return Remembered(self.current_wave, self.engine_count, self.ready)

    def _recovery_state(self) -> RecoveryState | None:
        recovery = self._recovery
        return None if recovery is None else recovery.state(self.engines_subscribed, self.engine_count)

    def _rejoin(self, now: float) -> Sequence[Effect]:
        recovery = self._recovery
        if recovery is None or recovery.phase is not RecoveryPhase.REJOINING:
            return _NOTHING
        if self.engines_subscribed < self.engine_count:
            return _NOTHING
        recovery.rejoined(start_follows=self.wave_coordination, now=now)
        record = LogEvent("engines_rejoined", {"engines": self.engine_count, "wave": self.current_wave})
        if not self.wave_coordination:
            return (record,)
        return (record, *self._start(self.current_wave, None, WaveCause.RECOVERY, None, now))

    def _settle(self, now: float) -> Sequence[Effect]:
        recovery = self._recovery
        if recovery is None or recovery.phase is not RecoveryPhase.SETTLING:
            return _NOTHING
        record = LogEvent("recovery_finished", {"wave": self.current_wave, "took_s": recovery.finished(now)})
        return (*self._start(self.current_wave, None, WaveCause.RECOVERY, None, now), record)

    # -- by hand ---------------------------------------------------------------------------------------------------

    def _on_manual_start(self, event: ManualStartRequested, now: float) -> Sequence[Effect]:
        repeated = self._manual.repeat_of(event, self.current_wave)
        if isinstance(repeated, StartAction):
            return (Answer(repeated),)
        refusal = repeated if repeated is not None else self._refusal(event)
        if refusal is not None:
            fields: dict[str, object] = {"refusal": refusal.kind.value, "detail": refusal.detail}
            fields |= {"reason": event.reason, "caller": event.caller}
            return (Answer(refusal), LogEvent("manual_start_refused", fields))
        wave = self.current_wave if event.wave is None else event.wave
        action = self._manual.begin(event, wave, self.engine_count, now)
        asked: dict[str, object] = {"action": action.id, "wave": wave, "reason": event.reason, "caller": event.caller}
        start = self._start(wave, None, WaveCause.MANUAL, None, now)
        return (Answer(action), LogEvent("manual_start_asked", asked), *start)

    def _refusal(self, event: ManualStartRequested) -> StartRefusal | None:
        blocked = self.start_blocked()
        current = self.current_wave
        if blocked is not None:
            return StartRefusal(*blocked, current)
        if event.expected_wave is not None and event.expected_wave != current:
            detail = f"the current wave is {current}, not {event.expected_wave}; look again and decide anew"
            return StartRefusal(RefusalKind.WAVE_MISMATCH, detail, current)
        if event.wave is not None and event.wave not in (current, current + 1):
            detail = f"wave must be {current} (the current one) or {current + 1} (the next), not {event.wave}"
            return StartRefusal(RefusalKind.WAVE_INVALID, detail, current)
        return None

    def start_blocked(self) -> tuple[RefusalKind, str] | None:
        """Why any manual start would be refused now; None when one would be accepted."""
        if not self.wave_coordination:
            return RefusalKind.COORDINATION_OFF, "wave coordination is off: these engines do not step together"
        if not self.ready:
            missing = f"{self.engines_subscribed} of {self.engine_count} engines have subscribed"
            return RefusalKind.NOT_READY, f"{missing}; a wave can start once all have"
        if self._recovery is not None and self._recovery.phase is RecoveryPhase.REJOINING:
            missing = f"{self.engines_subscribed} of {self.engine_count} engines have subscribed again"
            return RefusalKind.NOT_READY, f"{missing} after the restart; START goes out by itself once all have"
        if self.engines_running:
            return RefusalKind.RUNNING, f"wave {self.current_wave} is running already"
        if self._manual.pending:
            return RefusalKind.PENDING, "another manual start is still being watched; wait for its outcome"
        return None

    # -- what others may see ---------------------------------------------------------------------------------------

    def snapshot(self, now: float) -> Snapshot:
        """The state as it is now, frozen."""
        reported = self._load.anything_reported()
        blocked = self.start_blocked()
        return Snapshot(
            at=now,
            dialect=self.dialect.version,
            wave_coordination=self.wave_coordination,
            ready=self.ready,
            current_wave=self.current_wave,
            engines_running=self.engines_running,
            phase=self._log.phase,
            phase_since=self._log.phase_since,
            asked_at=self._log.asked_at,
            stepping=self._log.stepping,
            start_blocked=None if blocked is None else blocked[1],
            engine_count=self.engine_count,
            engines_subscribed=self.engines_subscribed,
            front_ends=self.front_ends,
            waiting=self._load.total_waiting if reported else None,
            running=self._load.total_running if reported else None,
            engines=self._load.columns(),
            waves=self._log.records(),
            actions=self._manual.records(),
            recovery=self._recovery_state(),
        )
