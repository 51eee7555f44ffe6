"""Finds connections from which libzmq reads on and on while nothing that they send is ever complete.

A message whose parts never end is in no count of libzmq's, and in no queue that the loop sees; subscriptions to ever
new topics can keep the loop inside libzmq. So this asks the kernel, needs nothing of the loop, and may be asked by
another thread. It looks at all connections, which takes a while: it is asked when memory grows or the loop is late.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from dp_coordinator.core.events import Peer
from dp_coordinator.transport.descriptor import Cookie, borrowed, cookie_of, open_descriptors, peer_of, received
from dp_coordinator.words import Channel

MOST_UNSEEN = {Channel.FRONT_PUBLISH: 64 << 10, Channel.BACK_PUBLISH: 64 << 10, Channel.BACK_OUTPUT: 8 << 20}
"""Bytes that libzmq may read of one connection before a message of it reaches the loop.

On an XPUB a few notices; on back_output the high-water mark times reports of 40 KB.
"""
MOST_READS = {Channel.FRONT_PUBLISH: 3, Channel.BACK_PUBLISH: 3, Channel.BACK_OUTPUT: 4}
"""Looks at which an ipc connection's queue has shrunk, for there the kernel counts no bytes."""
MOST_UNKNOWN, UNKNOWN_S = 64 << 10, 0.25
"""Bytes that somebody may have sent to back_output who is not known as an engine, when nothing of it comes so long.

Or as soon as the loop has taken all that there is: then what was read before is no message yet.
"""
EMPTIED = 2
"""How often it must have done so since: libzmq may have been about to hand the message over."""
MOST_GREETING = 1 << 10
"""Bytes of one from whom nothing was ever taken, on any socket: so long is no greeting of an honest peer's.

libzmq keeps every property of a greeting, 240 bytes for eight, for as long as the connection lasts.
"""
HEARTBEATS = 64
"""Bytes a second that an honest peer may send besides: PINGs of libzmq's, which are no messages."""
MOST_UNHEARD = 512 << 10
"""Of one from whom nothing was ever taken, on back_output, at once.

libzmq holds two hundred reports of an engine, which are 160 KB. Of empty frames without an end it makes 64 bytes each,
and half a MB is 16.
"""
MOST_UNHEARD_TOGETHER = 32 << 20
"""Of all such together; beyond it `MOST_UNKNOWN` is too much of each: a thousand strangers begin with half a GB.

Engines do not come to it: the loop takes of each connection in turn, so that a thousand are heard within milliseconds.
"""


class Heard(NamedTuple):
    """What the loop has had of a connection."""

    taken: int
    """Messages that it has seen of it."""
    is_engine: bool
    emptied: int
    """How often it has found that the socket holds no more."""
    since: float = math.inf
    """When it began (monotonic)."""


@dataclass(slots=True)
class _Watched:
    channel: Channel
    taken: int
    """Its messages that the loop had taken when it was first seen, or last took one."""
    read: int
    """Bytes that libzmq had read then."""
    since: float
    """When that was."""
    waiting: int
    looked: tuple[int, int]
    """Bytes that libzmq had read at a later look, and how often the socket had been emptied until then."""
    shrunk: int = 0


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A connection of which too much is unseen."""

    channel: Channel
    descriptor: int
    cookie: Cookie
    peer: Peer


class Backlog:
    """What is known of all connections since trouble began."""

    def __init__(
        self,
        channel_of: Callable[[socket.socket], Channel | None],
        heard_of: Callable[[Channel, int], Heard],
    ) -> None:
        """`channel_of` tells by a socket's own address whose it is, `heard_of` goes by channel and descriptor."""
        self._channel_of, self._heard_of = channel_of, heard_of
        self._watched: dict[Cookie, _Watched] = {}
        self._unheard = 0
        """Bytes that were read of those from whom nothing was taken, seen so far at this look."""

    def forget(self) -> None:
        """Trouble is over."""
        self._watched.clear()

    def look(self, now: float) -> Iterator[Unfinished]:
        """Look at every connection once; gives those that are to be ended."""
        self._unheard = 0
        with suppress(OSError):
            for descriptor in open_descriptors():
                with suppress(OSError), borrowed(descriptor) as end:
                    cookie = cookie_of(end)
                    channel = self._channel(end, cookie)
                    if channel is not None and self._is_too_much(end, cookie, channel, descriptor, now):
                        yield Unfinished(channel, descriptor, cookie, peer_of(end, 0, channel))

    def _channel(self, end: socket.socket, cookie: Cookie) -> Channel | None:
        """Whose it is; raises `OSError` for the one that listens. Each question asked may cost the loop its turn."""
        watched = self._watched.get(cookie)
        if watched is not None:
            return watched.channel
        end.getpeername()
        return self._channel_of(end)

    def _is_too_much(self, end: socket.socket, cookie: Cookie, channel: Channel, descriptor: int, now: float) -> bool:
        few = MOST_UNKNOWN if self._heard_of(channel, descriptor).taken else MOST_GREETING
        total, waiting = received(end, few)
        taken, is_engine, emptied, since = self._heard_of(channel, descriptor)
        read = 0 if total is None else max(0, total - waiting - int(HEARTBEATS * max(0.0, now - since)))
        unknown = channel is Channel.BACK_OUTPUT and not is_engine
        if unknown and not taken:
            self._unheard += read
            if read > (MOST_UNHEARD if self._unheard <= MOST_UNHEARD_TOGETHER else MOST_UNKNOWN):
                return True
        watched = self._watched.get(cookie)
        if watched is None or watched.taken != taken:
            self._watched[cookie] = _Watched(channel, taken, read, now, waiting, (read, emptied))
            return False
        watched.shrunk += waiting < watched.waiting
        watched.waiting = waiting
        if total is None:
            return watched.shrunk >= MOST_READS[channel]
        if read - watched.read > MOST_UNSEEN[channel]:
            return True
        # What it sent and we did not hear may be the beginning of something that it never finishes.
        most = MOST_UNKNOWN if taken else MOST_GREETING
        if read <= most or (taken and not unknown):
            return False
        there, before = watched.looked
        if emptied >= before + EMPTIED:
            if there > most:
                return True
            watched.looked = read, emptied
        return unknown and read > MOST_UNKNOWN and now - watched.since > UNKNOWN_S
