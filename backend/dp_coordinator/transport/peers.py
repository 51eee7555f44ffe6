"""Learns of every connection of the three sockets: where it comes from, what it is, whose it is, and how it ended.

A subscription carries no name, but the connection does (measured with pyzmq 27, libzmq 4.3.5). A socket monitor tells
of each connection that begins and ends, by its descriptor. A frame that is received with `copy=False` tells the
descriptor that it came through (`__fd`), and what the sender says it is (`Socket-Type`). And of a descriptor the kernel
tells the address (getpeername), for ipc the process (SO_PEERCRED), for tcp whether the other end still answers.

Descriptors are numbers that are used again. A monitor's events are in order, but frames wait in a queue of their own:
one of a connection that has ended may be read after another one has got its number. So a connection that took over a
number counts as the sender of nothing until the queue was once seen empty.

Nothing here waits for anybody, and what a stranger can cause is bounded: a connection to an XPUB that never subscribes
is only known here, the core never hears of it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import zmq

from dp_coordinator.core.events import Peer, PeerConnected, PeerDisconnected, PeerIdentified
from dp_coordinator.processes import engine_of, title_of
from dp_coordinator.words import Channel

MONITOR_HWM = 100_000
"""Events that may wait: libzmq's own thread would wait for us beyond that."""
SAMPLED_AT_ONCE = 64
LOOK_EVERY_S = 1.0
"""Seconds between two looks at who sends what, once every engine's connection is known: it may change, or lie."""
_CREDENTIALS = struct.Struct("3i")
_MONITOR_EVENT = struct.Struct("=HI")
"""What happened, and to which descriptor. pyzmq's own reader brings in asyncio and ssl, which delays READY."""
_TCP_INFO_START = struct.Struct("8B")
_RETRANSMITS, _PROBES = 2, 3
"""Bytes of the kernel's tcp_info."""

PeerEvent: TypeAlias = PeerConnected | PeerIdentified | PeerDisconnected


@dataclass(slots=True)
class _Connection:
    peer: Peer
    settled: bool
    """False while frames of the one that had this descriptor before may still be in the queue."""
    told: bool = False
    """The core was told of it."""
    engine: int | None = None
    """The engine that it last reported as."""
    named_at: float = float("-inf")
    """When the core was told so."""
    unanswered: bool = False
    """At the last look, the other machine had left something unanswered."""


class PeerWatch:
    """The connections of one socket."""

    def __init__(self, channel: Channel, watched: zmq.Socket[bytes], ids: Iterator[int]) -> None:
        """Must be made before the socket is bound: what connects earlier is not seen."""
        self.channel = channel
        self._ids = ids
        self._connections: dict[int, _Connection] = {}
        """By descriptor."""
        self._early: dict[int, str] = {}
        """Subscribers that were heard before libzmq told of their connection: descriptor -> socket type."""
        self._ended: set[int] = set()
        """Descriptors of connections that ended since the queue was last seen empty."""
        self._senders: dict[int, int] = {}
        """Engine -> descriptor of the connection that reports as it."""
        self._look_at = float("-inf")
        self._sampling: list[int] = []
        address = f"inproc://monitor-{channel.value}"
        watched.monitor(address, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self.monitor: zmq.Socket[Any] = watched.context.socket(zmq.PAIR)
        """Readable when a connection began or ended."""
        self.monitor.setsockopt(zmq.RCVHWM, MONITOR_HWM)
        self.monitor.setsockopt(zmq.LINGER, 0)
        self.monitor.connect(address)

    def changes(self) -> Iterator[PeerEvent]:
        """Take in which connections began and ended; gives what the core should know of that."""
        with suppress(zmq.Again):
            while True:
                event, descriptor = _MONITOR_EVENT.unpack(self.monitor.recv_multipart(zmq.NOBLOCK)[0])
                if event == zmq.EVENT_ACCEPTED:
                    yield from self._begin(descriptor)
                elif event == zmq.EVENT_DISCONNECTED:
                    yield from self._end(descriptor)

    def drained(self) -> None:
        """The queue was seen empty: frames that come now are of connections that are there now."""
        if self._ended:
            self._ended.clear()
            for connection in self._connections.values():
                connection.settled = True

    def subscribed(self, frame: zmq.Frame, socket_type: str | None = None) -> PeerConnected | None:
        """A subscription came; None when it says nothing new. `socket_type`, where another one is surely right.

        Take in `changes` first. libzmq tells of an end before it closes the descriptor, so before another connection
        can have that (stream_engine_base.cpp, `error`); of a beginning it may tell after the first frame.
        """
        descriptor = _descriptor(frame)
        kind = socket_type or _property(frame, "Socket-Type")
        connection = self._connections.get(descriptor)
        if connection is None:
            self._early[descriptor] = kind
            return None
        return None if connection.told else self._tell(connection, kind)

    def unsubscribed(self, frame: zmq.Frame) -> PeerDisconnected | None:
        """A subscription was taken back. That of a connection which ended carries no name; `changes` tells of it."""
        connection = self._connections.get(_descriptor(frame))
        if connection is None or not connection.told:
            return None
        ended = connection.peer.id
        connection.peer, connection.told = replace(connection.peer, id=next(self._ids)), False
        return PeerDisconnected(ended, "unsubscribed")

    def wants_names(self, engine_count: int, now: float) -> bool:
        """Whether what comes next should be received with `copy=False`, which costs a microsecond a frame.

        While some engine's connection is not known; then once a second, lest one that changes or lies goes unseen.
        """
        if len(self._senders) >= engine_count and now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY_S
        return True

    def sent(self, frame: zmq.Frame, engine: int, now: float) -> PeerIdentified | None:
        """An engine's message came: whose connection this is, when that is news."""
        descriptor = _descriptor(frame)
        connection = self._connections.get(descriptor)
        if connection is None or not connection.settled:
            return None
        if self._senders.get(engine) == descriptor and connection.engine == engine:
            return None
        if now < connection.named_at + LOOK_EVERY_S:
            return None  # two that take turns, or one that changes its name: once a second is enough to know
        self._forget_sender(connection, descriptor)
        connection.engine, connection.named_at = engine, now
        self._senders[engine] = descriptor
        return PeerIdentified(connection.peer.id, engine)

    def sender_of(self, frame: zmq.Frame) -> str | None:
        """Who sent a frame, for people, where that is certain."""
        connection = self._connections.get(_descriptor(frame))
        return connection.peer.name if connection is not None and connection.settled else None

    def known_as(self, engine: int | None) -> str | None:
        """Who reports as this engine, for people."""
        descriptor = None if engine is None else self._senders.get(engine)
        return None if descriptor is None else self._connections[descriptor].peer.name

    def look(self) -> None:
        """See of some tcp connections whether the other end still answers. Of use a few times a second."""
        if not self._sampling:
            self._sampling = [fd for fd, connection in self._connections.items() if connection.peer.host]
        for _ in range(min(SAMPLED_AT_ONCE, len(self._sampling))):
            descriptor = self._sampling.pop()
            connection = self._connections.get(descriptor)
            if connection is not None:
                connection.unanswered = _left_unanswered(descriptor)

    # -- connections -----------------------------------------------------------------------------------------------

    def _begin(self, descriptor: int) -> Iterator[PeerEvent]:
        early = self._early.pop(descriptor, None)
        yield from self._end(descriptor)
        connection = _Connection(_peer_at(descriptor, next(self._ids), self.channel), descriptor not in self._ended)
        self._connections[descriptor] = connection
        if self.channel is Channel.BACK_OUTPUT:
            yield self._tell(connection, "")  # an idle engine need not say anything for hours
        elif early is not None:
            yield self._tell(connection, early)

    def _end(self, descriptor: int) -> Iterator[PeerEvent]:
        self._early.pop(descriptor, None)
        connection = self._connections.pop(descriptor, None)
        if connection is None:
            return
        self._ended.add(descriptor)
        self._forget_sender(connection, descriptor)
        if connection.told:
            yield PeerDisconnected(connection.peer.id, "timed out" if connection.unanswered else "connection closed")

    def _forget_sender(self, connection: _Connection, descriptor: int) -> None:
        if connection.engine is not None and self._senders.get(connection.engine) == descriptor:
            del self._senders[connection.engine]

    def _tell(self, connection: _Connection, socket_type: str) -> PeerConnected:
        connection.told = True
        connection.peer = replace(connection.peer, socket_type=socket_type)
        return PeerConnected(connection.peer)


def _descriptor(frame: zmq.Frame) -> int:
    """The descriptor of the connection that a frame came through; -1 where libzmq made it up."""
    return int(_property(frame, "__fd") or -1)


def _property(frame: zmq.Frame, name: str) -> str:
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""


# -- what the kernel tells of a descriptor ---------------------------------------------------------------------------


def _peer_at(descriptor: int, number: int, channel: Channel) -> Peer:
    unknown = Peer(number, channel, "", "unknown")
    try:
        end = socket.socket(fileno=descriptor)
    except OSError:
        return unknown  # it has gone already
    try:
        if end.family == socket.AF_UNIX:
            pid, _, _ = _CREDENTIALS.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
            title = title_of(pid)
            return Peer(number, channel, "", "ipc", "", pid or None, title, engine_of(title))
        host, port = end.getpeername()[:2]
        return Peer(number, channel, host, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except (OSError, ValueError):
        return unknown
    finally:
        end.detach()  # it is libzmq's


def _left_unanswered(descriptor: int) -> bool:
    try:
        end = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        info = _TCP_INFO_START.unpack(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_START.size))
        return bool(info[_RETRANSMITS] or info[_PROBES])
    except OSError:
        return False
    finally:
        end.detach()
