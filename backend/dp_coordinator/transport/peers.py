"""Learns of every connection of the three sockets: where it comes from, what it is, whose it is, and how it ended.

A subscription carries no name, but the connection does (measured with pyzmq 27, libzmq 4.3.5). A socket monitor tells
of each connection that begins and ends, by its descriptor. A frame that is received with `copy=False` tells the
descriptor that it came through (`__fd`), and what the sender says it is (`Socket-Type`). And of a descriptor the kernel
tells the address (getpeername), for ipc the process (SO_PEERCRED), for tcp whether the other end still answers.

Descriptors are used again. A monitor's events are in order, but frames wait in a queue of their own: one of a
connection that has ended may be read after another one has got its descriptor. What tells them apart is the number that
each is given at the door (zap.py): a frame is of the connection that has its descriptor now when its number is larger
than any that had been given when the one before ended.

Nothing here waits for anybody, and what a stranger can cause is bounded: a connection to an XPUB that never subscribes
is only known here, the core never hears of it.
"""

from __future__ import annotations

import math
import struct
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import zmq

from dp_coordinator.core.events import PeerConnected, PeerDisconnected, PeerIdentified
from dp_coordinator.transport.allowance import Allowance
from dp_coordinator.transport.backlog import HEARTBEATS, MOST_UNSEEN, Heard, Unfinished
from dp_coordinator.transport.connection import Connection
from dp_coordinator.transport.crowd import Crowd
from dp_coordinator.transport.descriptor import Cookie, peer_at, sever, spare, state_of
from dp_coordinator.transport.origin import descriptor_of, number_of, socket_type_of
from dp_coordinator.transport.zap import Doorkeeper
from dp_coordinator.wire.client import SUBSCRIBE
from dp_coordinator.words import Channel

REMEMBERED = 4096
"""Connections that were cut off, for what they left in the queue is not heeded."""
UNFINISHED = "much of it came, and no message"
CROWDED = "{most} connections are the most that this socket has, and most of them come from there"
SHORT_S = 2.0
"""A connection that said nothing and lasted no longer was refused by libzmq, if the other end did not give up."""
SUSPICION_S = 1.0
"""Seconds for which every frame's sender is looked at after somebody sent what no engine does."""
MONITOR_HWM = 100_000
"""Events that may wait: libzmq's own thread would wait for us beyond that."""
SAMPLED_AT_ONCE = 64
LOOK_EVERY_S = 1.0
"""Seconds between two looks at who sends what, once every engine's connection is known: it may change, or lie."""
_MONITOR_EVENT = struct.Struct("=HI")
"""What happened, and to which descriptor. pyzmq's own reader brings in asyncio and ssl, which delays READY."""

PeerEvent: TypeAlias = PeerConnected | PeerIdentified | PeerDisconnected


class CutOffError(Exception):
    """A connection was ended for what it sent; the text says why."""

    def __init__(self, peer: str, engine: int | None, why: str) -> None:
        super().__init__(why)
        self.peer, self.engine = peer, engine


class PeerWatch:
    """The connections of one socket."""

    def __init__(
        self, channel: Channel, watched: zmq.Socket[bytes], ids: Iterator[int], doorkeeper: Doorkeeper, engines: int
    ) -> None:
        """Must be made before the socket is bound, or misses who connects earlier. `engines`: how many are expected."""
        self.channel, self.watched = channel, watched
        self._ids = ids
        self._doorkeeper = doorkeeper
        self._connections: dict[int, Connection] = {}
        """By descriptor."""
        self._crowd = Crowd(channel, engines)
        self._heard: dict[int, Connection] = {}
        """By the number that their frames carry: those of which something was received with `copy=False`."""
        self._early: set[int] = set()
        """Descriptors of those that were heard before libzmq told of their connection, which it has yet to do."""
        self._before: dict[int, int] = {}
        """Descriptor -> the number that was given last when a connection of it ended."""
        self._senders: dict[int, int] = {}
        """Engine -> descriptor of the connection that reports as it."""
        self._unnamed: set[int] = set()
        """Descriptors of connections to back_output of which no engine's message came yet."""
        self._look_at = self._names_until = -math.inf
        self._cut_off: dict[int, None] = {}
        """Numbers of connections that were cut off, oldest first."""
        self._unfinished: dict[Cookie, None] = {}
        self._gave_up = 0
        """Other ends that have given up, and of whose end libzmq has yet to tell: each of its threads may have one."""
        self._gone_already: dict[int, bool] = {}
        """Descriptors of which libzmq told the end before the beginning, and whether the other end had given up."""
        self._silent: deque[str] = deque(maxlen=REMEMBERED)
        self._to_tell: deque[tuple[str, str]] = deque(maxlen=REMEMBERED)
        self._sampling: list[int] = []
        self.behind = False
        self.emptied = 0
        """How often all that the socket held has been taken, or nothing was there."""
        spare()
        address = f"inproc://monitor-{channel.value}"
        watched.monitor(address, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        self.monitor: zmq.Socket[Any] = watched.context.socket(zmq.PAIR)
        """Readable when a connection began or ended."""
        self.monitor.setsockopt(zmq.RCVHWM, MONITOR_HWM)
        self.monitor.setsockopt(zmq.LINGER, 0)
        self.monitor.connect(address)

    def changes(self, until: float = math.inf) -> Iterator[PeerEvent]:
        """Take in which connections began and ended; gives what the core should know of that.

        At least one, and no more after this time (monotonic); `behind` tells whether there may be more.
        """
        self.behind = False
        while not self.behind:
            try:
                event, descriptor = _MONITOR_EVENT.unpack(self.monitor.recv(zmq.NOBLOCK))
            except zmq.Again:
                return
            self.monitor.recv()  # the address where it listens: every event has two parts
            if event == zmq.EVENT_ACCEPTED:
                yield from self._accepted(descriptor)
            elif event == zmq.EVENT_DISCONNECTED:
                # libzmq tells before it closes the descriptor (stream_engine_base.cpp, `error`).
                self._before[descriptor] = self._doorkeeper.given
                self._note_silent(descriptor)
                yield from self._end(descriptor)
            else:
                self._gave_up += 1
            self.behind = time.monotonic() > until

    def _accepted(self, descriptor: int) -> Iterator[PeerEvent]:
        gave_up = self._gone_already.pop(descriptor, None)
        if gave_up is False:
            self._silent.append("unknown")
        if gave_up is not None:
            return
        if descriptor in self._early:
            self._early.discard(descriptor)
        else:
            yield from self._end(descriptor)
            self._begin(descriptor)
        if self.channel is Channel.BACK_OUTPUT:
            self._unnamed.add(descriptor)
            yield self._tell(self._connections[descriptor], "")  # an idle engine need not say anything for hours

    def _note_silent(self, descriptor: int) -> None:
        """Before the end libzmq says when the other end has given up, and nothing when it refused what it was sent.

        One that was there for longer may have said something while nobody asked for names.
        """
        connection = self._connections.get(descriptor)
        gave_up = self._takes_giving_up(connection)
        if connection is None or descriptor in self._early:
            # The beginning is yet to be told, which libzmq does after it has begun (stream_listener_base.cpp).
            self._early.discard(descriptor)
            self._gone_already[descriptor] = gave_up or connection is not None
        if connection is None or connection.number or gave_up or self._why_ended(connection) is not None:
            return
        if time.monotonic() - connection.since < SHORT_S:
            self._silent.append(connection.peer.name)

    def _takes_giving_up(self, connection: Connection | None) -> bool:
        """Whether the other end of what ends has given up, which only one can that said nothing.

        libzmq tells of the two one after the other (stream_engine_base.cpp, `error`), but another of its threads may
        tell something between them.
        """
        if not self._gave_up or (connection is not None and connection.number):
            return False
        self._gave_up -= 1
        return True

    def silent(self) -> Iterator[str]:
        """Those that ended without a message, each once: they spoke no ZMTP 3, or began with too large a frame."""
        while self._silent:
            yield self._silent.popleft()

    def subscribed(self, frame: zmq.Frame, socket_type: str | None = None) -> PeerConnected | None:
        """A subscription that is heeded came; None if that is no news. `socket_type`, where another one is right."""
        connection = self._of(frame)
        if connection is None or connection.told:
            return None
        self._crowd.speaks(descriptor_of(frame), connection.peer.host)
        return self._tell(connection, socket_type or socket_type_of(frame))

    def unsubscribed(self, frame: zmq.Frame) -> PeerDisconnected | None:
        """A subscription was taken back. That of a connection which ended carries no name; `changes` tells of it."""
        connection = self._of(frame)
        if connection is None or not connection.told:
            return None
        ended = connection.peer.id
        connection.peer, connection.told = replace(connection.peer, id=next(self._ids)), False
        return PeerDisconnected(ended, "unsubscribed")

    def wants_names(self, now: float) -> bool:
        """Whether what comes next should be received with `copy=False`, which costs some microseconds a frame.

        While somebody is connected of whom no engine's message came yet, or somebody is suspected; then once a second,
        lest one that changes or lies goes unseen.
        """
        if not self._unnamed and now < self._look_at and now > self._names_until:
            return False
        self._look_at = now + LOOK_EVERY_S
        return True

    def sent(self, frame: zmq.Frame, engine: int, now: float) -> PeerIdentified | None:
        """An engine's message came: whose connection this is, when that is news."""
        descriptor = descriptor_of(frame)
        connection = self._connections.get(descriptor)
        if connection is None or not connection.told:
            return None
        if self._senders.get(engine) == descriptor and connection.engine == engine:
            return None
        if self._is_of_before(frame, descriptor):
            return None
        self._unnamed.discard(descriptor)
        if now < connection.named_at + LOOK_EVERY_S:
            return None  # two that take turns, or one that changes its name: once a second is enough to know
        self._forget_sender(connection, descriptor)
        connection.engine, connection.named_at = engine, now
        self._crowd.speaks(descriptor, connection.peer.host)
        self._senders[engine] = descriptor
        return PeerIdentified(connection.peer.id, engine)

    def suspect(self, now: float) -> None:
        """Somebody sends what no engine does: learn who in the next second. Safe from any thread."""
        self._names_until = now + SUSPICION_S

    def heeds(self, frame: zmq.Frame, now: float) -> bool:
        """Whether to heed a message; False for one of a connection that was cut off.

        libzmq may tell of a connection's beginning after its first message has come. It is known at once all the same,
        for an engine that is not could read START before READY.

        Raises `CutOffError` when it is to be cut off for this one.
        """
        number = number_of(frame)
        connection = self._heard.get(number) or self._hear(frame, number, now)
        if connection is None:
            return number not in self._cut_off  # it has ended
        if connection.cut_off is not None:
            return False
        connection.taken += 1
        if connection.allowance is not None:
            size = len(frame)
            if self.channel is Channel.BACK_OUTPUT:
                why = connection.allowance.outputs(size, now)
            else:
                why = connection.allowance.message(size - 1 if frame.bytes[:1] == SUBSCRIBE else 0, now)
            if why is not None:
                raise self._cut_for(frame, connection, why, now)
        return True

    def unreadable(self, frame: zmq.Frame, now: float) -> None:
        """A message that was heeded turned out to be none of the protocol. Raises `CutOffError` as `heeds` does."""
        connection = self._of(frame)
        if connection is None or connection.allowance is None:
            return
        why = connection.allowance.unreadable(self.channel, now)
        if why is not None and connection.cut_off is None:
            raise self._cut_for(frame, connection, why, now)

    def _cut_for(self, frame: zmq.Frame, connection: Connection, why: str, now: float) -> CutOffError:
        self._cut(descriptor_of(frame), connection, why, now)
        return CutOffError(connection.peer.name, connection.engine, why)

    def _cut(self, descriptor: int, connection: Connection, why: str, now: float) -> bool:
        """Whether it was there to be cut off."""
        connection.cut_off = why
        if connection.number:
            self._cut_off[connection.number] = None
        while len(self._cut_off) > REMEMBERED:
            self._cut_off.pop(next(iter(self._cut_off)))
        was_there = sever(descriptor, connection.cookie)
        if was_there:
            self._doorkeeper.cut_off(connection.peer.host, now)
        return was_there

    def end(self, unfinished: Unfinished, now: float) -> None:
        """End a connection of which too much is unseen. Safe from any thread."""
        if sever(unfinished.descriptor, unfinished.cookie):
            self._doorkeeper.cut_off(unfinished.peer.host, now)
            if len(self._unfinished) > REMEMBERED:
                self._unfinished.clear()
            self._unfinished[unfinished.cookie] = None
            self._to_tell.append((unfinished.peer.name, UNFINISHED))

    def ended(self) -> Iterator[tuple[str, str]]:
        """Who was ended beside the loop's work, for people, and why; each once."""
        while self._to_tell:
            yield self._to_tell.popleft()

    def heard_of(self, descriptor: int) -> Heard:
        """What was received of a connection by name. Safe from any thread."""
        connection = self._connections.get(descriptor)
        if connection is None:
            return Heard(0, is_engine=False, emptied=self.emptied)
        return Heard(connection.taken, connection.engine is not None, self.emptied, connection.since)

    def sender_of(self, frame: zmq.Frame) -> str | None:
        """Who sent a frame, for people, where that is certain."""
        connection = self._of(frame)
        return None if connection is None else connection.peer.name

    def known_as(self, engine: int | None) -> str | None:
        """Who reports as this engine, for people."""
        descriptor = None if engine is None else self._senders.get(engine)
        return None if descriptor is None else self._connections[descriptor].peer.name

    def look(self, now: float) -> None:
        """See of some tcp connections whether the other end still answers, and sends what is no message for ever.

        Of use a few times a second. PINGs and other commands never come out of libzmq, and fill nothing.
        """
        if not self._sampling:
            self._sampling = [fd for fd, connection in self._connections.items() if connection.peer.host]
        for _ in range(min(SAMPLED_AT_ONCE, len(self._sampling))):
            descriptor = self._sampling.pop()
            connection = self._connections.get(descriptor)
            found = None if connection is None else state_of(descriptor, connection.cookie)
            if connection is None or found is None:
                continue  # libzmq has yet to tell of one that has gone
            connection.unanswered, came = found
            if connection.engine is None and self._goes_on(connection, came, now):
                self._end_beside(descriptor, connection, UNFINISHED, now)

    def _goes_on(self, connection: Connection, came: int, now: float) -> bool:
        if connection.looked is None or connection.looked[0] != connection.taken:
            connection.looked = connection.taken, came, now
        _, before, since = connection.looked
        return came - before - HEARTBEATS * (now - since) > MOST_UNSEEN[self.channel]

    # -- connections -----------------------------------------------------------------------------------------------

    def _begin(self, descriptor: int) -> Connection:
        peer, cookie = peer_at(descriptor, next(self._ids), self.channel)
        self._connections[descriptor] = connection = Connection(peer, cookie=cookie, since=time.monotonic())
        one_too_many = self._crowd.comes(descriptor, peer.host)
        if one_too_many is not None:
            why = CROWDED.format(most=self._crowd.most)
            self._end_beside(one_too_many, self._connections[one_too_many], why, connection.since)
        return connection

    def _end_beside(self, descriptor: int, connection: Connection, why: str, now: float) -> None:
        if connection.cut_off is None and self._cut(descriptor, connection, why, now):
            self._to_tell.append((connection.peer.name, why))

    def _hear(self, frame: zmq.Frame, number: int, now: float) -> Connection | None:
        """The connection by which something has come for the first time; None when that has ended."""
        descriptor = descriptor_of(frame)
        if number <= self._before.get(descriptor, 0):
            return None
        connection = self._connections.get(descriptor)
        if connection is None:
            self._early.add(descriptor)
            connection = self._begin(descriptor)
        connection.number, connection.allowance = number, Allowance(self.channel, now)
        self._heard[number] = connection
        return connection

    def _end(self, descriptor: int) -> Iterator[PeerEvent]:
        self._unnamed.discard(descriptor)
        connection = self._connections.pop(descriptor, None)
        if connection is None:
            return
        self._heard.pop(connection.number, None)
        self._crowd.goes(descriptor, connection.peer.host)
        self._forget_sender(connection, descriptor)
        why = self._why_ended(connection)
        self._unfinished.pop(connection.cookie, None)
        if connection.told:
            why = f"cut off: {why}" if why else ("timed out" if connection.unanswered else "connection closed")
            yield PeerDisconnected(connection.peer.id, why)

    def _why_ended(self, connection: Connection) -> str | None:
        """Why it was ended by us, if it was."""
        return connection.cut_off or (UNFINISHED if connection.cookie in self._unfinished else None)

    def _of(self, frame: zmq.Frame) -> Connection | None:
        """Whose frame it is, of those that are there."""
        descriptor = descriptor_of(frame)
        return None if self._is_of_before(frame, descriptor) else self._connections.get(descriptor)

    def _is_of_before(self, frame: zmq.Frame, descriptor: int) -> bool:
        return number_of(frame) <= self._before.get(descriptor, 0)

    def _forget_sender(self, connection: Connection, descriptor: int) -> None:
        if connection.engine is not None and self._senders.get(connection.engine) == descriptor:
            del self._senders[connection.engine]

    def _tell(self, connection: Connection, socket_type: str) -> PeerConnected:
        connection.told = True
        connection.peer = replace(connection.peer, socket_type=socket_type)
        return PeerConnected(connection.peer)
