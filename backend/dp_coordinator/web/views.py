"""From the core's read model to the messages: statuses, ages, wall clock and sentences are made here, nowhere else.

`now` is the monotonic clock in seconds, the same one that stamps snapshots and the event log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container
from typing import Any

from msgspec.structs import asdict, astuple, replace

from dp_coordinator import __version__, sentences
from dp_coordinator import messages as m
from dp_coordinator.core.snapshot import ActionState, Phase, Snapshot, StartAction, Wave
from dp_coordinator.mailbox import LogEntry, Mailbox
from dp_coordinator.words import AlarmKind, EngineStatus, NoticeKind, Tone

WAVES_SENT = 20
ACTIONS_SENT = 5
SNAPSHOT_DELAY_S = 0.05
"""The loop holds a change of load back for at most this long."""
ASKED_QUIET_S = 1.0
"""A start is followed within milliseconds when all is well: before this it is no news that it is not."""
RECOVERED_SHOWN_S = 30.0
"""For so long the end of a recovery is told: a page that the restart cut off is back long before."""
_CLOCK_STEP = 0.25


class WallClock:
    """Turns monotonic times into Unix seconds.

    The difference of the two clocks is kept until it jumps, so that one moment is always told as the same number.
    """

    def __init__(self, offset: Callable[[], float] = lambda: time.time() - time.monotonic()) -> None:
        """`offset`: Unix seconds less monotonic ones, as the two clocks say now."""
        self._measure = offset
        self._offset = offset()

    def of(self, monotonic: float) -> float:
        """Unix seconds of a monotonic moment, to the millisecond."""
        offset = self._measure()
        if abs(offset - self._offset) > _CLOCK_STEP:
            self._offset = offset
        return round(monotonic + self._offset, 3)

    def maybe(self, monotonic: float | None) -> float | None:
        """The same, None for None."""
        return None if monotonic is None else self.of(monotonic)


def seconds(value: float) -> float:
    """A duration as messages carry it: never negative, in whole milliseconds."""
    return round(max(0.0, value), 3)


def _age(now: float, then: float | None) -> float | None:
    return None if then is None else seconds(now - then)


def data_age(mailbox: Mailbox, snapshot: Snapshot, now: float) -> float:
    """Seconds since the loop vouched for a snapshot: it makes no new one while nothing changes, but goes on turning."""
    vouched_at = mailbox.loop_alive_at - SNAPSHOT_DELAY_S
    return seconds(now - max(snapshot.at, vouched_at))


def statuses(snapshot: Snapshot, now: float, stale_after: float) -> m.Statuses:
    """What is to be thought of the ranks."""
    of_each = _status_of_each(snapshot, now, stale_after)
    counted = {status: of_each.count(status) for status in EngineStatus}
    most = max(EngineStatus, key=lambda status: counted[status])
    others = (status for status, count in counted.items() if count and status is not most)
    return m.Statuses(
        most, {other: [rank for rank, status in enumerate(of_each) if status is other] for other in others}
    )


def _status_of_each(snapshot: Snapshot, now: float, stale_after: float) -> list[EngineStatus]:
    """A silent rank is stale only while it must have something to report.

    Engines that are paused say nothing, and a wave that began just now has given nobody the time to.
    """
    never, fresh, stale = EngineStatus.NEVER, EngineStatus.FRESH, EngineStatus.STALE
    expected = snapshot.phase is Phase.RUNNING or (snapshot.phase is Phase.STARTING and snapshot.engines_running)
    since = now - stale_after
    silent_before = since if expected and snapshot.phase_since < since else float("-inf")
    return [never if at is None else stale if at < silent_before else fresh for at in snapshot.engines.reported_at]


def wave(record: Wave, now: float, clock: WallClock) -> m.WaveInfo:
    """One wave."""
    began = record.asked_at if record.asked_at is not None else record.started_at
    until = now if record.ended_at is None else record.ended_at
    return m.WaveInfo(
        number=record.number,
        cause=record.cause,
        cause_engine=record.cause_engine,
        asked_at=clock.maybe(record.asked_at),
        started_at=clock.maybe(record.started_at),
        ended_at=clock.maybe(record.ended_at),
        duration_s=None if began is None else seconds(until - began),
        open=record.ended_at is None,
        completed=record.completed,
        peak_waiting=record.peak_waiting,
        peak_running=record.peak_running,
    )


def waves(snapshot: Snapshot, limit: int, now: float, clock: WallClock) -> list[m.WaveInfo]:
    """The newest `limit` waves, newest first."""
    return [wave(record, now, clock) for record in reversed(snapshot.waves[-limit:])]


def action(made: StartAction, now: float, clock: WallClock) -> m.Action:
    """One manual start, with its outcome as a sentence."""
    silent = list(made.silent) if made.state is not ActionState.OBSERVED else []
    return m.Action(
        id=made.id,
        wave=made.wave,
        reason=made.reason,
        caller=made.caller,
        state=made.state,
        asked_at=clock.of(made.asked_at),
        age_s=seconds(now - made.asked_at),
        seen=[m.RankSeen(rank, seconds(after)) for rank, after in made.seen],
        silent=silent,
        collective=made.collective,
        took_s=None if made.finished_at is None else seconds(made.finished_at - made.asked_at),
        engine_count=made.engine_count,
        summary=sentences.start_text(made, now),
    )


def endpoints(mailbox: Mailbox) -> m.EndpointInfo:
    """Where engines and front-ends connect."""
    at = mailbox.endpoints
    return m.EndpointInfo(at.front_publish, at.back_output, at.back_publish)


def recovery(snapshot: Snapshot, clock: WallClock) -> m.Recovery | None:
    """What became of a restart."""
    state = snapshot.recovery
    if state is None:
        return None
    return m.Recovery(
        phase=state.phase,
        resumed_wave=state.resumed_wave,
        resumed_at=clock.of(state.resumed_at),
        engines_back=state.engines_back,
        engines_expected=state.engines_expected,
        finished_at=clock.maybe(state.finished_at),
        text=sentences.recovery_text(state, snapshot.current_wave),
    )


def _situation(mailbox: Mailbox, snapshot: Snapshot, now: float, clock: WallClock) -> dict[str, Any]:
    """The fields of a `Situation`."""
    return {
        "current_wave": snapshot.current_wave,
        "engines_running": snapshot.engines_running,
        "phase": snapshot.phase,
        "phase_word": sentences.phase_word(snapshot),
        "phase_text": sentences.phase_text(snapshot, now),
        "phase_age_s": seconds(now - snapshot.phase_since),
        "asked_age_s": _age(now, snapshot.asked_at),
        "ready": snapshot.ready,
        "engine_count": snapshot.engine_count,
        "engines_subscribed": snapshot.engines_subscribed,
        "front_ends": snapshot.front_ends,
        "totals": m.Totals(snapshot.waiting, snapshot.running),
        "restarts": mailbox.restarts,
        "recovery": recovery(snapshot, clock),
    }


def _of_the_present(mailbox: Mailbox, snapshot: Snapshot, now: float) -> dict[str, Any]:
    """The fields that a `State` and a `SnapshotMessage` share besides."""
    return {
        "data_age_s": data_age(mailbox, snapshot, now),
        "wave_coordination": snapshot.wave_coordination,
        "dialect": snapshot.dialect,
        "endpoints": endpoints(mailbox),
        "start_blocked": snapshot.start_blocked,
        "recording": playback(mailbox),
    }


def state(mailbox: Mailbox, snapshot: Snapshot, now: float, stale_after: float, clock: WallClock) -> m.State:
    """`GET /api/v1/state`."""
    return m.State(
        **_situation(mailbox, snapshot, now, clock),
        **_of_the_present(mailbox, snapshot, now),
        stepping=list(snapshot.stepping),
        engines=columns(snapshot, now, stale_after).rows(),
        min_stats_update_interval_ms=round(mailbox.min_stats_update_interval * 1000),
        uptime_s=seconds(now - mailbox.started_at),
        version=__version__,
        pid=os.getpid(),
    )


def playback(mailbox: Mailbox) -> m.Playback | None:
    """The recording that is shown; None when everything is live."""
    return None if mailbox.player is None else mailbox.player.position()


def event(entry: LogEntry, clock: WallClock) -> m.Event:
    """One event-log entry for REST."""
    text, tone, group = sentences.event(entry.kind, entry.fields)
    return m.Event(entry.seq, clock.of(entry.at), entry.kind, group, tone, text, entry.fields)


def event_message(entry: LogEntry, clock: WallClock) -> m.EventMessage:
    """One event-log entry for the stream."""
    return m.EventMessage(*astuple(event(entry, clock)))


def columns(snapshot: Snapshot, now: float, stale_after: float) -> m.EngineColumnsMessage:
    """All ranks."""
    engines = snapshot.engines
    return m.EngineColumnsMessage(
        waiting=engines.waiting,
        running=engines.running,
        kv_cache_usage=engines.kv_cache_usage,
        step_counter=engines.step_counter,
        current_wave=engines.current_wave,
        age_s=[None if at is None else round(max(0.0, now - at), 3) for at in engines.reported_at],
        status=statuses(snapshot, now, stale_after),
        restarts=engines.restarts,
        stepping=snapshot.stepping,
    )


def notices(snapshot: Snapshot, alarms: Container[AlarmKind], now: float) -> list[m.Notice]:
    """How far a restart has got, and a start that nobody has followed yet, unless an alarm says it already."""
    made, recovery = [], snapshot.recovery
    if recovery is not None and AlarmKind.RECOVERY_UNDER_WAY not in alarms:
        text = sentences.recovery_text(recovery, snapshot.current_wave)
        if recovery.finished_at is None:
            made.append(m.Notice(NoticeKind.RECOVERY, Tone.WARN, text))
        elif now - recovery.finished_at <= RECOVERED_SHOWN_S:
            made.append(m.Notice(NoticeKind.RECOVERY, Tone.GOOD, text))
    asked_at = snapshot.asked_at if snapshot.phase is Phase.STARTING else None
    asked = asked_at is not None and now - asked_at >= ASKED_QUIET_S
    if asked and AlarmKind.ASKED_NOT_STEPPING not in alarms:
        made.append(m.Notice(NoticeKind.STARTING, Tone.WARN, sentences.phase_text(snapshot, now)))
    return made


def state_at(
    mailbox: Mailbox, snapshot: Snapshot, alarms: list[m.Alarm], now: float, clock: WallClock, *, stale_after: float
) -> m.StateAt:
    """What may change from one moment to the next, with engines as columns."""
    return m.StateAt(
        **_situation(mailbox, snapshot, now, clock),
        engines=columns(snapshot, now, stale_after),
        notices=notices(snapshot, {alarm.kind for alarm in alarms}, now),
        alarms=alarms,
    )


def shortened(state: m.StateAt) -> m.StateAt:
    """A state for the history: what nobody looks for in it is rounded away, so that it takes less room."""
    engines = state.engines
    return replace(
        state,
        engines=replace(
            engines,
            kv_cache_usage=[None if part is None else round(part, 4) for part in engines.kv_cache_usage],
            age_s=[None if age is None else round(age, 2) for age in engines.age_s],
        ),
    )


def snapshot_message(
    mailbox: Mailbox, snapshot: Snapshot, alarms: list[m.Alarm], now: float, clock: WallClock, *, stale_after: float
) -> m.SnapshotMessage:
    """The state for the stream."""
    return m.SnapshotMessage(
        **asdict(state_at(mailbox, snapshot, alarms, now, clock, stale_after=stale_after)),
        **_of_the_present(mailbox, snapshot, now),
        at=clock.of(now),
        waves=waves(snapshot, WAVES_SENT, now, clock),
        actions=[action(made, now, clock) for made in reversed(snapshot.actions[-ACTIONS_SENT:])],
        last_seq=mailbox.log.last_seq,
    )
