"""How loaded each rank is, and which ones to avoid: the one place that says so to routers, whatever told it."""

from __future__ import annotations

import math
from collections.abc import Collection

from dp_coordinator import standing
from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages_loads import RankLoad
from dp_coordinator.web.alarms import AlarmBoard
from dp_coordinator.web.routers.avoided import avoided
from dp_coordinator.web.routers.weights import Advice, advice
from dp_coordinator.words import Channel, SourceKind

KEPT_S = 0.05
"""For how long one look answers everybody: HAProxy asks for every rank by itself."""


class LoadBoard:
    """What the ranks' loads are now. Belongs to the web thread."""

    def __init__(self, mailbox: Mailbox, alarms: AlarmBoard) -> None:
        self._mailbox = mailbox
        self._alarms = alarms
        self._advice: list[Advice] = []
        self._advised_at = -math.inf

    def loads(self) -> list[RankLoad]:
        """All ranks in order."""
        return loads(self._mailbox.seen(), self._alarms.standing.values(), self._mailbox.clock())

    @property
    def knows(self) -> bool:
        """Whether anything can be said: not before somebody has connected, or one of those that are watched answers."""
        seen = self._mailbox.seen()
        if seen.ready:
            return True
        return not seen.watched and bool(seen.peers.connections or seen.sources)

    def advice(self) -> list[Advice]:
        """What to do with each rank; at most `KEPT_S` old."""
        now = self._mailbox.clock()
        if not 0 <= now - self._advised_at < KEPT_S:
            avoid = avoided(self._mailbox.seen(), self._alarms.standing.values())
            self._advised_at, self._advice = now, advice(self.loads(), avoid)
        return self._advice


def loads(snapshot: Snapshot, alarms: Collection[Alarm], now: float) -> list[RankLoad]:
    """All ranks in order, as of `now` (monotonic seconds)."""
    columns, addresses = snapshot.engines, _addresses(snapshot)
    sources = [None if origin is None else origin.kind for origin in snapshot.provenance]
    named = {rank for alarm in alarms for rank in alarm.engines}
    states = standing.statuses(snapshot, named, now)
    return [
        RankLoad(
            rank,
            addresses.get(rank),
            columns.waiting[rank],
            columns.running[rank],
            columns.kv_cache_usage[rank],
            None if at is None else round(max(0.0, now - at) * 1000),
            sources[rank] if sources else None if at is None else SourceKind.REPORTS,
            states[rank],
        )
        for rank, at in enumerate(columns.reported_at)
    ]


def _addresses(snapshot: Snapshot) -> dict[int, str]:
    """Where each rank takes requests, or the host that its connections come from over TCP; the others are left out."""
    of_ranks = [(rank, ended.peer) for rank, ended in snapshot.peers.gone.items()]
    of_ranks += [(rank, each.peer) for each, _, rank in snapshot.peers.connections if rank is not None]
    of_ranks.sort(key=lambda known: known[1].channel is Channel.BACK_OUTPUT)  # of two, the one that reports came by
    found = {rank: peer.host for rank, peer in of_ranks if peer.host}
    if snapshot.sources is not None:
        views = snapshot.sources.ranks.items()
        found |= {rank: view.address.partition("://")[2] for rank, view in views if view.address}
    return found
