"""Alarms about who is connected: they follow from the snapshot alone."""

from __future__ import annotations

from dp_coordinator.alarms.kinds import NAMED, Alarm, few
from dp_coordinator.core.snapshot import RecoveryPhase, Snapshot
from dp_coordinator.sentences import capital, ranks
from dp_coordinator.standing import place
from dp_coordinator.words import AlarmKind, Channel, Severity

FRONT_END_FORGOTTEN = 300.0
"""Seconds after which a front-end that left is taken to have left for good."""
FEW = 2
"""Requests on each of the others, in the mean: with so few a rank that has none was only not chosen."""


def rejoining(snapshot: Snapshot) -> bool:
    """Engines come back to a restarted coordinator: who is not there yet is not gone."""
    return snapshot.recovery is not None and snapshot.recovery.phase is RecoveryPhase.REJOINING


def engine_gone(snapshot: Snapshot, now: float) -> Alarm | None:
    """An engine's connection ended: which one, where it was and how it ended, as far as anybody can tell."""
    peers = snapshot.peers
    if not peers.missing or rejoining(snapshot) or snapshot.watched:
        return None
    # The first to go comes first: the others may have ended over it, as vLLM's engines do when one of them ends.
    in_time = sorted(peers.gone.items(), key=lambda one: one[1].at)
    gone = [f"rank {rank}, {place(ended)}" for rank, ended in in_time]
    named = few(gone)
    there = snapshot.engine_count - peers.missing
    if peers.missing_unnamed:
        last = [place(ended) for ended in peers.unnamed[:NAMED]]
        have = f"{there} of {snapshot.engine_count} are subscribed; vLLM does not tell which rank"
        unnamed = f"{peers.missing_unnamed} that cannot be named" if gone else have
        named.append(unnamed + (f" ({'; '.join(last)})" if last else ""))
    title = f"{'Engine' if peers.missing == 1 else 'Engines'} gone: {'; '.join(named)}"
    counts = {"subscribed": there, "expected": snapshot.engine_count}
    since = min((ended.at for ended in (*peers.gone.values(), *peers.unnamed)), default=now)
    return Alarm(AlarmKind.ENGINE_GONE, Severity.CRITICAL, since, title, tuple(peers.gone), counts)


def engine_surplus(snapshot: Snapshot, now: float) -> Alarm | None:
    """More engines subscribe than the deployment has."""
    surplus, expected = snapshot.peers.surplus, snapshot.engine_count
    if not surplus:
        return None
    title = f"More engines than expected: {expected + surplus} are subscribed, {expected} are expected"
    counts = {"subscribed": expected + surplus, "expected": expected}
    return Alarm(AlarmKind.ENGINE_SURPLUS, Severity.WARNING, now, title, (), counts)


def same_index(snapshot: Snapshot, now: float) -> Alarm | None:
    """Live connections report as one rank."""
    rivals = snapshot.peers.rivals
    if not rivals:
        return None
    said = [f"rank {rank}, {_listed([peer.name for peer in those])}" for rank, those in sorted(rivals.items())]
    most = max(len(those) for those in rivals.values())
    title = f"{'Two' if most == 2 else 'Several'} engines with one index: {'; '.join(said[:NAMED])}"
    return Alarm(AlarmKind.SAME_INDEX, Severity.CRITICAL, now, title, tuple(sorted(rivals)))


def _listed(names: list[str]) -> str:
    *first, last = few(names)
    return f"{', '.join(first)} and {last}"


def never_heard(snapshot: Snapshot, loads: list[int], now: float) -> Alarm | None:
    """Some ranks never reported, and every other one has requests. A rank that has none has nothing to report."""
    silent = [rank for rank, at in enumerate(snapshot.engines.reported_at) if at is None]
    silent = [] if snapshot.watched else [rank for rank in silent if rank not in snapshot.peers.gone]
    others = [load for load, at in zip(loads, snapshot.engines.reported_at, strict=True) if at is not None]
    if not silent or not snapshot.ready or not others or min(others) < 1 or sum(others) <= FEW * len(others):
        return None
    title = f"{capital(ranks(silent))} {'was' if len(silent) == 1 else 'were'} never heard of, while all others work"
    counts = {"requests": sum(others)}
    return Alarm(AlarmKind.NEVER_HEARD, Severity.WARNING, now, title, tuple(silent), counts)


def front_end_gone(snapshot: Snapshot, usual: int, now: float) -> Alarm | None:
    """Fewer front-ends than usual, and who went last."""
    have = snapshot.front_ends
    if have >= usual:
        return None
    severity = Severity.WARNING if have else Severity.CRITICAL
    left = snapshot.peers.front_ends_left[-(usual - have) :]
    title = f"Front-ends gone: {have} of {usual} are subscribed"
    if left:
        last = [place(ended) for ended in left[-NAMED:]]
        title += f"; the last to go: {'; '.join(last)}"
    since = min((ended.at for ended in left), default=now)
    return Alarm(AlarmKind.FRONT_END_GONE, severity, since, title, (), {"subscribed": have, "before": usual})


def not_back(snapshot: Snapshot) -> tuple[int, ...]:
    """Ranks that have not come back to a restarted coordinator, where it is known of all others that they have."""
    back = {
        engine
        for connection, _, engine in snapshot.peers.connections
        if engine is not None and connection.peer.channel is Channel.BACK_PUBLISH
    }
    if len(back) != snapshot.engines_subscribed:
        return ()
    return tuple(rank for rank in range(snapshot.engine_count) if rank not in back)


class Usual:
    """How many there usually are: the most there were, until fewer have been there for some minutes."""

    def __init__(self) -> None:
        self._usual = 0
        self._fewer_since: float | None = None
        self._most_since = 0

    def after(self, have: int, now: float) -> int:
        """How many were usual, now that there are `have`."""
        if self._fewer_since is not None and now - self._fewer_since >= FRONT_END_FORGOTTEN:
            self._usual, self._fewer_since = max(self._most_since, have), None
        if have >= self._usual:
            self._usual, self._fewer_since = have, None
        elif self._fewer_since is None:
            self._fewer_since, self._most_since = now, have
        else:
            self._most_since = max(self._most_since, have)
        return self._usual
