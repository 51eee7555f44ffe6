"""Who comes and who goes: the core hears of it, and the door is opened, some at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Container

from dp_coordinator.observer import Books, Host, Sender
from dp_coordinator.transport.peers import PeerWatch
from dp_coordinator.transport.sockets import Sockets
from dp_coordinator.words import Channel

LONGEST_S = 0.004
"""For what came and went on one socket, and for the door, in one turn.

Not so many of them: where another thread keeps the interpreter each takes ten times as long.
"""
SILENT = "it ended without a message: no ZMTP 3 (HTTP, TLS, an old libzmq), or its first frame was too large"


class Entrance:
    """The loop's part of it, on the loop's thread."""

    def __init__(self, sockets: Sockets, host: Host, books: Books) -> None:
        self._sockets, self._host, self._books = sockets, host, books
        self._behind = False
        """There is more to take in than there was time for."""

    def due(self, now: float) -> float:
        """When there is something to do, even if nothing is readable (monotonic)."""
        return now if self._behind else self._sockets.doorkeeper.due

    def work(self, readable: Container[object], changed: bool, now: float) -> None:
        """Take in who came and went; once all that is known, let in who is at the door.

        `changed`: a monitor is readable.
        """
        watches, doorkeeper = self._sockets.watches, self._sockets.doorkeeper
        if changed or self._behind:
            for watch in watches.values():
                self._take_changes(watch, now, time.monotonic() + LONGEST_S)
            self._behind = any(watch.behind for watch in watches.values())
        if (now >= doorkeeper.due or doorkeeper.socket in readable) and not self._behind:
            self._open_the_door(now)

    def look(self, now: float) -> None:
        """See who still answers, and tell who was ended meanwhile."""
        for watch in self._sockets.watches.values():
            watch.look(now)
            for peer, why in watch.ended():
                self._books.cut_off(watch.channel, why, now, Sender(peer))

    def _open_the_door(self, now: float) -> None:
        def take_changes(channel: Channel) -> None:
            watch = self._sockets.watches[channel]
            self._take_changes(watch, now)
            watch.suspect(now)  # until it is known of whoever comes in now whether anything came of it

        for refused in self._sockets.doorkeeper.answer(now, take_changes, time.monotonic() + LONGEST_S):
            self._books.refused(refused.channel, refused.address, refused.why, now)

    def _take_changes(self, watch: PeerWatch, now: float, until: float = math.inf) -> None:
        for event in watch.changes(until):
            try:
                self._host.take(event, now)
            except Exception as error:
                self._books.defect(watch.channel, error, now)
        for peer in watch.silent():
            self._books.refused(watch.channel, peer, SILENT, now)
