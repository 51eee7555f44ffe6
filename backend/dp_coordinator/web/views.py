"""From the core's read model to the messages: statuses, ages, wall clock and sentences are made here, nowhere else.

`now` is the monotonic clock in seconds, the same one that stamps snapshots and the event log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import asdict, replace

from dp_coordinator import __version__
from dp_coordinator import messages as m
from dp_coordinator.core.snapshot import ActionState, Phase, Snapshot, StartAction, Wave
from dp_coordinator.mailbox import LogEntry, Mailbox

WAVES_SENT = 20
ACTIONS_SENT = 5
SNAPSHOT_DELAY_S = 0.05
"""The loop holds a change of load back for at most this long."""
_RANKS_NAMED = 16
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


def _status(snapshot: Snapshot, reported_at: float | None, now: float, stale_after: float) -> m.EngineStatus:
    """A silent rank is stale only while it is known to have something to report: paused engines say nothing."""
    if reported_at is None:
        return "never"
    expected = snapshot.phase is Phase.RUNNING or (snapshot.phase is Phase.STARTING and snapshot.engines_running)
    silent_for = now - max(reported_at, snapshot.phase_since)
    return "stale" if expected and silent_for > stale_after else "fresh"


def engine(snapshot: Snapshot, index: int, now: float, stale_after: float) -> m.Engine:
    """One rank. `index` must be below the snapshot's engine_count."""
    columns = snapshot.engines
    reported_at = columns.reported_at[index]
    return m.Engine(
        index=index,
        waiting=columns.waiting[index],
        running=columns.running[index],
        kv_cache_usage=columns.kv_cache_usage[index],
        step_counter=columns.step_counter[index],
        current_wave=columns.current_wave[index],
        age_s=_age(now, reported_at),
        status=_status(snapshot, reported_at, now, stale_after),
        restarts=columns.restarts[index],
        stepping=index in snapshot.stepping,
    )


def engines(snapshot: Snapshot, now: float, stale_after: float) -> list[m.Engine]:
    """All ranks in index order."""
    return [engine(snapshot, index, now, stale_after) for index in range(snapshot.engine_count)]


def wave(record: Wave, now: float, clock: WallClock) -> m.WaveInfo:
    """One wave."""
    began = record.asked_at if record.asked_at is not None else record.started_at
    until = now if record.ended_at is None else record.ended_at
    return m.WaveInfo(
        number=record.number,
        cause=record.cause.value,
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
        state=made.state.value,
        asked_at=clock.of(made.asked_at),
        age_s=seconds(now - made.asked_at),
        seen=[m.RankSeen(rank, seconds(after)) for rank, after in made.seen],
        silent=silent,
        collective=made.collective,
        took_s=None if made.finished_at is None else seconds(made.finished_at - made.asked_at),
        engine_count=made.engine_count,
        summary=summary(made, now),
    )


def summary(made: StartAction, now: float) -> str:
    """What was asked and what was seen of it, in one sentence."""
    seen = f"{len(made.seen)} of {made.engine_count} ranks"
    took = duration((now if made.finished_at is None else made.finished_at) - made.asked_at)
    match made.state:
        case ActionState.OBSERVED:
            return f"{seen} stepping after {took}"
        case ActionState.TIMED_OUT:
            return f"{seen} seen after {took}; silent: {ranks(made.silent)}"
        case ActionState.ASKED:
            return f"asked {took} ago; {seen} seen so far; not yet: {ranks(made.silent)}"


def duration(seconds: float) -> str:
    """`41 ms`, `5.0 s`: milliseconds below one second."""
    seconds = max(0.0, seconds)
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def ranks(indexes: Iterable[int]) -> str:
    """Ranks as a list for people, cut where it would not be read any more."""
    listed = [str(index) for index in indexes]
    more = len(listed) - _RANKS_NAMED
    return ", ".join(listed[:_RANKS_NAMED]) + (f" and {more} more" if more > 0 else "")


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
        phase=state.phase.value,
        resumed_wave=state.resumed_wave,
        resumed_at=clock.of(state.resumed_at),
        engines_back=state.engines_back,
        engines_expected=state.engines_expected,
        finished_at=clock.maybe(state.finished_at),
    )


def _situation(mailbox: Mailbox, snapshot: Snapshot, now: float, clock: WallClock) -> dict[str, Any]:
    """The fields of a `Situation`."""
    return {
        "current_wave": snapshot.current_wave,
        "engines_running": snapshot.engines_running,
        "phase": snapshot.phase.value,
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


def state(mailbox: Mailbox, snapshot: Snapshot, now: float, stale_after: float, clock: WallClock) -> m.State:
    """`GET /api/v1/state`."""
    return m.State(
        **_situation(mailbox, snapshot, now, clock),
        stepping=list(snapshot.stepping),
        engines=engines(snapshot, now, stale_after),
        dialect=snapshot.dialect,
        wave_coordination=snapshot.wave_coordination,
        min_stats_update_interval_ms=round(mailbox.min_stats_update_interval * 1000),
        endpoints=endpoints(mailbox),
        start_blocked=snapshot.start_blocked,
        uptime_s=seconds(now - mailbox.started_at),
        data_age_s=data_age(mailbox, snapshot, now),
        version=__version__,
        pid=os.getpid(),
        recording=playback(mailbox),
    )


def playback(mailbox: Mailbox) -> m.Playback | None:
    """The recording that is shown; None when everything is live."""
    if mailbox.player is None:
        return None
    told = mailbox.player.position()
    return m.Playback(
        told.name, round(told.at, 3), seconds(told.position_s), seconds(told.duration_s), told.speed, told.paused
    )


def event(entry: LogEntry, clock: WallClock) -> m.Event:
    """One event-log entry for REST."""
    return m.Event(entry.seq, clock.of(entry.at), entry.kind, entry.fields)


def event_message(entry: LogEntry, clock: WallClock) -> m.EventMessage:
    """One event-log entry for the stream."""
    return m.EventMessage(entry.seq, clock.of(entry.at), entry.kind, entry.fields)


def state_at(mailbox: Mailbox, snapshot: Snapshot, alarms: list[m.Alarm], now: float, clock: WallClock) -> m.StateAt:
    """What may change from one moment to the next, with engines as columns."""
    columns = snapshot.engines
    return m.StateAt(
        **_situation(mailbox, snapshot, now, clock),
        engines=m.EngineColumnsMessage(
            waiting=list(columns.waiting),
            running=list(columns.running),
            kv_cache_usage=list(columns.kv_cache_usage),
            step_counter=list(columns.step_counter),
            current_wave=list(columns.current_wave),
            age_s=[_age(now, at) for at in columns.reported_at],
            restarts=list(columns.restarts),
            stepping=list(snapshot.stepping),
        ),
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
    mailbox: Mailbox, snapshot: Snapshot, alarms: list[m.Alarm], now: float, clock: WallClock
) -> m.SnapshotMessage:
    """The state for the stream."""
    return m.SnapshotMessage(
        **asdict(state_at(mailbox, snapshot, alarms, now, clock)),
        at=clock.of(now),
        data_age_s=data_age(mailbox, snapshot, now),
        wave_coordination=snapshot.wave_coordination,
        dialect=snapshot.dialect,
        endpoints=endpoints(mailbox),
        start_blocked=snapshot.start_blocked,
        waves=waves(snapshot, WAVES_SENT, now, clock),
        actions=[action(made, now, clock) for made in reversed(snapshot.actions[-ACTIONS_SENT:])],
        last_seq=mailbox.log.last_seq,
        recording=playback(mailbox),
    )
