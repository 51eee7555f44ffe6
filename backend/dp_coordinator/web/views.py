"""From the core's read model to the messages: statuses, ages, wall clock and sentences are made here, nowhere else.

`now` is the monotonic clock in seconds, the same one that stamps snapshots and the event log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import asdict, replace

from dp_coordinator import __version__, sentences, standing
from dp_coordinator import messages as m
from dp_coordinator.core.snapshot import Connection, EndedConnection, PeersView, Snapshot, StartAction, Wave
from dp_coordinator.mailbox import LogEntry, Mailbox
from dp_coordinator.messages_told import AlarmInShort, Summary
from dp_coordinator.web import sources
from dp_coordinator.words import AlarmKind, Channel, DeploymentState, EngineStatus, NoticeKind, PeerKind, Tone

WAVES_SENT = 20
ACTIONS_SENT = 5
SNAPSHOT_DELAY_S = 0.05
"""The loop holds a change of load back for at most this long."""
ASKED_QUIET_S = 1.0
"""A start is followed within milliseconds when all is well: before this it is no news that it is not."""
RECOVERED_SHOWN_S = 30.0
"""For so long the end of a recovery is told: a page that the restart cut off is back long before."""
_CLOCK_STEP = 0.25
AGE_DIGITS, USAGE_DIGITS = 2, 3
"""Decimal places of ranks' ages, in seconds, and of fractions, on the stream and in the history."""
Alarms: TypeAlias = Sequence[m.Alarm]
"""Those that stand, critical ones first."""
M = TypeVar("M", bound=Struct)
E = TypeVar("E", bound=m.Event)


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
        return round(monotonic + self.offset(), 3)

    def offset(self) -> float:
        """Unix seconds less monotonic ones."""
        offset = self._measure()
        if abs(offset - self._offset) > _CLOCK_STEP:
            self._offset = offset
        return self._offset


def told(message: type[M], seen: object, clock: WallClock | None = None, /, **made: Any) -> M:
    """The message that tells of what was `seen`: fields that are not `made` here have the same name there.

    The `clock` is for moments among them (`*_at`). Raises `AttributeError` for a field that is neither made nor seen.
    """
    for name in message.__struct_fields__:
        if name not in made:
            value = getattr(seen, name)
            made[name] = clock.of(value) if clock and value is not None and name.endswith("_at") else value
    return message(**made)


def seconds(value: float) -> float:
    """A duration as messages carry it: never negative, in whole milliseconds."""
    return round(max(0.0, value), 3)


def data_age(mailbox: Mailbox, snapshot: Snapshot, now: float) -> float:
    """Seconds since the loop vouched for a snapshot: it makes no new one while nothing changes, but goes on turning."""
    vouched_at = mailbox.loop_alive_at - SNAPSHOT_DELAY_S
    return seconds(now - max(snapshot.at, vouched_at))


def statuses(snapshot: Snapshot, alarms: Alarms, now: float) -> m.Statuses:
    """What every rank does."""
    of_each = standing.statuses(snapshot, named(alarms), now)
    counted = {status: of_each.count(status) for status in EngineStatus}
    most = max(EngineStatus, key=lambda status: counted[status])
    others = (status for status, count in counted.items() if count and status is not most)
    ranks = {other: [rank for rank, status in enumerate(of_each) if status is other] for other in others}
    return m.Statuses(most, ranks)


def named(alarms: Alarms) -> dict[int, str]:
    """Ranks that alarms name, with the title of the first one that does."""
    return {rank: alarm.title for alarm in reversed(alarms) for rank in alarm.engines}


def wave(record: Wave, now: float, clock: WallClock) -> m.WaveInfo:
    """One wave."""
    began = record.asked_at if record.asked_at is not None else record.started_at
    until = now if record.ended_at is None else record.ended_at
    lasts = None if began is None else seconds(until - began)
    unseen = record.started_at is None and not (record.peak_waiting or record.peak_running)
    peaks = dict.fromkeys(("peak_waiting", "peak_running")) if unseen else {}
    return told(m.WaveInfo, record, clock, duration_s=lasts, open=record.ended_at is None, **peaks)


def waves(snapshot: Snapshot, limit: int, now: float, clock: WallClock) -> list[m.WaveInfo]:
    """The newest `limit` waves, newest first."""
    offset, newest = clock.offset(), reversed(snapshot.waves[-limit:])
    return [wave(each, now, clock) if each.ended_at is None else _ended_wave(each, clock, offset) for each in newest]


@lru_cache(maxsize=512)
def _ended_wave(record: Wave, clock: WallClock, offset: float) -> m.WaveInfo:
    """It does not change any more, and is told ten times a second. `offset` is the clock's, which may step."""
    return wave(record, 0.0, clock)


def action(made: StartAction, now: float, clock: WallClock) -> m.Action:
    """One manual start, with its outcome as a sentence."""
    return told(
        m.Action,
        made,
        clock,
        age_s=seconds(now - made.asked_at),
        joined=[m.RankSeen(rank, seconds(after)) for rank, after in made.joined],
        took_s=None if made.finished_at is None else seconds(made.finished_at - made.asked_at),
        summary=sentences.start_text(made, now),
    )


def recovery(snapshot: Snapshot, clock: WallClock) -> m.Recovery | None:
    """What became of a restart."""
    state = snapshot.recovery
    if state is None:
        return None
    return told(m.Recovery, state, clock, text=sentences.recovery_text(state, snapshot.current_wave))


def _situation(mailbox: Mailbox, snapshot: Snapshot, alarms: Alarms, now: float, clock: WallClock) -> dict[str, Any]:
    """The fields of a `Situation` that a snapshot does not have."""
    return {
        "state_text": sentences.state_text(snapshot, now),
        "state_tone": tone(snapshot, alarms),
        "state_age_s": seconds(now - snapshot.state_since),
        "wave": told(m.WaveEvidence, snapshot.wave, clock),
        "totals": m.Totals(snapshot.waiting, snapshot.running, standing.left_out(snapshot)),
        "restarts": mailbox.restarts,
        "recovery": recovery(snapshot, clock),
    }


def tone(snapshot: Snapshot, alarms: Alarms) -> Tone:
    """How the state should look."""
    return sentences.state_tone(snapshot, alarms[0].severity if alarms else None)


def _of_the_present(mailbox: Mailbox, snapshot: Snapshot, now: float) -> dict[str, Any]:
    """What a `State` and a `SnapshotMessage` tell besides, which is not in a snapshot either."""
    age = data_age(mailbox, snapshot, now)
    return {
        "name": mailbox.name,
        "data_age_s": age,
        "endpoints": mailbox.endpoints,
        "recording": playback(mailbox),
        "watching": snapshot.watched,
        "recorded": mailbox.recording is not None,
    }


def summary(mailbox: Mailbox, snapshot: Snapshot, alarms: Alarms, now: float, clock: WallClock) -> Summary:
    """`GET /api/v1/summary`."""
    return told(
        Summary,
        snapshot,
        clock,
        name=mailbox.name,
        state_text=sentences.state_text(snapshot, now),
        state_tone=tone(snapshot, alarms),
        state_age_s=seconds(now - snapshot.state_since),
        data_age_s=data_age(mailbox, snapshot, now),
        alarms=[AlarmInShort(each.kind, each.severity, each.title, each.age_s) for each in alarms],
        started_at=clock.of(mailbox.started_at),
        version=__version__,
        recording=mailbox.player is not None,
    )


def state(mailbox: Mailbox, snapshot: Snapshot, alarms: Alarms, now: float, clock: WallClock) -> m.State:
    """`GET /api/v1/state`."""
    return told(
        m.State,
        snapshot,
        clock,
        **_situation(mailbox, snapshot, alarms, now, clock),
        **_of_the_present(mailbox, snapshot, now),
        engines=engines(snapshot, alarms, now, clock),
        min_stats_update_interval_ms=round(mailbox.min_stats_update_interval * 1000),
        uptime_s=seconds(now - mailbox.started_at),
        version=__version__,
        pid=os.getpid(),
    )


def playback(mailbox: Mailbox) -> m.Playback | None:
    """The recording that is shown; None when everything is live."""
    return None if mailbox.player is None else mailbox.player.position()


def event(entry: LogEntry, clock: WallClock, message: type[E]) -> E:
    """One event-log entry, for REST or the stream."""
    said = sentences.event(entry.kind, entry.fields)
    return told(message, entry, at=clock.of(entry.at), **said._asdict())


def columns(snapshot: Snapshot, alarms: Alarms, now: float) -> m.EngineColumnsMessage:
    """All ranks."""
    reported, status = snapshot.engines, statuses(snapshot, alarms, now)
    ages = [None if at is None else round(max(0.0, now - at), 3) for at in reported.reported_at]
    return told(m.EngineColumnsMessage, reported, age_s=ages, status=status, provenance=sources.provenance(snapshot))


def short_columns(snapshot: Snapshot, alarms: Alarms, now: float) -> m.EngineColumnsMessage:
    """All ranks, for the stream and the history: what nobody sees is rounded away, so that they take less room."""
    reported, status = snapshot.engines, statuses(snapshot, alarms, now)
    ages = [None if at is None else round(max(0.0, now - at), AGE_DIGITS) for at in reported.reported_at]
    usage = [None if part is None else round(part, USAGE_DIGITS) for part in reported.kv_cache_usage]
    kinds = sources.provenance(snapshot)
    return told(m.EngineColumnsMessage, reported, age_s=ages, status=status, kv_cache_usage=usage, provenance=kinds)


def engines(snapshot: Snapshot, alarms: Alarms, now: float, clock: WallClock) -> list[m.Engine]:
    """All ranks, with what the status means and where each one is."""
    titles, known = named(alarms), _known(snapshot.peers)
    where = {rank: _place(known[position][0], clock) for rank, position in _places(snapshot.peers).items()}
    return [
        replace(
            row,
            status_text=standing.text(snapshot, row.index, row.status, titles, now),
            peer=where.get(row.index),
            sourced=sources.of_rank(snapshot, row.index, now),
        )
        for row in columns(snapshot, alarms, now).rows()
    ]


def _known(peers: PeersView) -> list[tuple[Connection | EndedConnection, PeerKind, int | None]]:
    """The connections that there are, and those of engines that are gone: each with its kind and its rank."""
    gone = [*peers.gone.items(), *((None, ended) for ended in peers.unnamed)]
    return [*peers.connections, *((ended, PeerKind.ENGINE, engine) for engine, ended in gone)]


def _places(peers: PeersView) -> dict[int, int]:
    """Rank -> which of the known connections is its place: the one that its reports come by, where there is one."""
    known = _known(peers)

    def told_best(position: int) -> tuple[bool, bool]:
        seen = known[position][0]
        return isinstance(seen, EndedConnection), seen.peer.channel is Channel.BACK_OUTPUT

    in_order = sorted(range(len(known)), key=told_best)
    return {engine: position for position in in_order if (engine := known[position][2]) is not None}


def _place(known: Connection | EndedConnection, clock: WallClock) -> m.EnginePeer:
    ended = known if isinstance(known, EndedConnection) else None
    return told(
        m.EnginePeer,
        known.peer,
        connected_at=clock.of(known.since),
        ended_at=None if ended is None else clock.of(ended.at),
        why=None if ended is None else ended.why,
    )


def peers(snapshot: Snapshot, clock: WallClock) -> m.PeerPage:
    """`GET /api/v1/peers`."""
    listed = [
        m.Peer(**asdict(_place(each, clock)), socket=each.peer.channel, kind=kind, engine=engine)
        for each, kind, engine in _known(snapshot.peers)
    ]
    where = _places(snapshot.peers)
    places = [where.get(rank) for rank in range(snapshot.engine_count)]
    return m.PeerPage(snapshot.peers_version, listed, places, sources.told(snapshot))


def notices(snapshot: Snapshot, alarms: Container[AlarmKind], now: float) -> list[m.Notice]:
    """How far a restart has got, and a start that nobody has followed yet, unless an alarm says it already."""
    made, recovery = [], snapshot.recovery
    if recovery is not None and AlarmKind.RECOVERY_UNDER_WAY not in alarms:
        text = sentences.recovery_text(recovery, snapshot.current_wave)
        if recovery.finished_at is None:
            made.append(m.Notice(NoticeKind.RECOVERY, Tone.PLAIN, text))
        elif now - recovery.finished_at <= RECOVERED_SHOWN_S:
            made.append(m.Notice(NoticeKind.RECOVERY, Tone.GOOD, text))
    asked_at = snapshot.wave.asked_at if snapshot.state is DeploymentState.STARTING else None
    asked = asked_at is not None and now - asked_at >= ASKED_QUIET_S
    if asked and AlarmKind.ASKED_NOT_STEPPING not in alarms:
        made.append(m.Notice(NoticeKind.STARTING, Tone.PLAIN, sentences.state_text(snapshot, now)))
    return made


def state_at(mailbox: Mailbox, snapshot: Snapshot, alarms: Alarms, now: float, clock: WallClock) -> m.StateAt:
    """What may change from one moment to the next, with engines as columns."""
    return told(
        m.StateAt,
        snapshot,
        clock,
        **_situation(mailbox, snapshot, alarms, now, clock),
        engines=short_columns(snapshot, alarms, now),
        notices=notices(snapshot, {alarm.kind for alarm in alarms}, now),
        alarms=alarms,
    )


def snapshot_message(
    mailbox: Mailbox, snapshot: Snapshot, alarms: Alarms, now: float, clock: WallClock, *, number: int = 1
) -> m.SnapshotMessage:
    """The state for the stream."""
    return told(
        m.SnapshotMessage,
        snapshot,
        clock,
        **asdict(state_at(mailbox, snapshot, alarms, now, clock)),
        **_of_the_present(mailbox, snapshot, now),
        number=number,
        at=clock.of(now),
        waves=waves(snapshot, WAVES_SENT, now, clock),
        actions=[action(made, now, clock) for made in reversed(snapshot.actions[-ACTIONS_SENT:])],
        last_seq=mailbox.log.last_seq,
    )
