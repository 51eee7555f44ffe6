"""Who may come in at all: the answers to ZAP (rfc.zeromq.org/spec/27), by which libzmq asks at each handshake.

That there is somebody to ask has libzmq refuse what cannot be asked about: ZMTP 1.0 and 2.0, and with them HTTP, TLS
and whatever else is no greeting of ZMTP 3, which it would take for a subscriber of ZMTP 1.0
(zmtp_engine.cpp, `handshake_v1_0_unversioned`). vLLM's peers (NULL) come in, over tcp and ipc.

Each is given a number, which its frames carry. Unlike a descriptor it is never used again, and later ones are larger.

From where somebody was cut off just now (an IPv4 address, or 64 bits of IPv6), everybody waits at the door for a while,
for who knocks cannot be told apart. libzmq reads nothing of them meanwhile (stream_engine_base.cpp,
`process_handshake_command`).
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import zmq

from dp_coordinator.hosts import address, neighbourhood, network
from dp_coordinator.limits import Backoff
from dp_coordinator.words import Channel

ADDRESS = "inproc://zeromq.zap.01"
NUMBER = "User-Id"
"""The property of a frame that holds its connection's number."""
FIRST_WAIT_S, LONGEST_WAIT_S, FORGET_S = 0.1, 2.0, 10.0
"""Seconds at the door after somebody from the same neighbourhood was cut off once, and often, and until forgotten.

An engine or front-end that is honest joins so much later, if it comes from beside one that is not.
"""
MOST_WAITING = 4096
"""At the door; beyond it whoever is due first comes in."""
_AT_ONCE = 256
_VERSION = b"1.0"
_NULL, _CURVE = b"NULL", b"CURVE"


class Refused(NamedTuple):
    """Somebody who was not let in."""

    channel: str
    address: str
    why: str


class _Knock(NamedTuple):
    due: float
    """When it is to be answered (monotonic)."""
    request: tuple[bytes, bytes]
    """The way back to who asks, and what it calls its question."""
    channel: str
    address: str
    why: str | None
    """Why it is not let in, if it is not."""


class Doorkeeper:
    """Answers. Must be made before the sockets are bound, in their context, on their thread."""

    def __init__(
        self, context: zmq.Context[Any], allowed: Sequence[str] = (), curve_keys: Collection[bytes] = ()
    ) -> None:
        """`allowed`: addresses and CIDR blocks that may come by tcp; none: all. `curve_keys`: public keys, 32 bytes."""
        self._networks = [network(text) for text in allowed]
        self._keys = frozenset(curve_keys)
        self._cut_off = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, FORGET_S)
        """By neighbourhood; all that come over ipc have the same, none."""
        self._waiting: list[_Knock] = []
        """A heap: who is due first comes first."""
        self.due = math.inf
        """When `answer` has something to do, even if nobody comes to the door (monotonic)."""
        self.given = 0
        """The number that was given last."""
        self.socket: zmq.Socket[Any] = context.socket(zmq.ROUTER)
        """Readable when somebody is at the door."""
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ADDRESS)

    def cut_off(self, host: str, now: float) -> None:
        """A connection from this address (empty: over ipc) was cut off for what it sent. Safe from any thread."""
        self._cut_off.failed(neighbourhood(host), now)

    def answer(self, now: float, take_changes: Callable[[Channel], None], until: float = math.inf) -> Iterator[Refused]:
        """Answer those who wait and are due, or some, none after `until` (monotonic); gives those that were refused.

        `take_changes` is called for each before it has its number: whoever had its descriptor before ended before that,
        so that what has a larger number than was given when that one ended is not of that one (transport/peers.py).
        """
        waiting = self._waiting
        for _ in range(_AT_ONCE):
            try:
                heapq.heappush(waiting, self._knock(now))
            except zmq.Again:
                break
        for _ in range(_AT_ONCE):
            if not waiting or (waiting[0].due > now and len(waiting) <= MOST_WAITING):
                break
            knock = heapq.heappop(waiting)
            take_changes(Channel(knock.channel))
            self._reply(knock)
            if knock.why is not None:
                yield Refused(knock.channel, knock.address, knock.why)
            if time.monotonic() > until:
                break
        self.due = waiting[0].due if waiting else math.inf

    def _knock(self, now: float) -> _Knock:
        """Who has come to the door; raises `zmq.Again` when nobody has."""
        caller, _, _, request, channel, end, _, mechanism, *credentials = self.socket.recv_multipart(zmq.NOBLOCK)
        host = end.decode("ascii", "replace")
        why = self._refusal(host, mechanism, credentials)
        due = now + self._cut_off.wait(neighbourhood(host), now)
        return _Knock(due, (caller, request), channel.decode(), host, why)

    def _reply(self, knock: _Knock) -> None:
        self.given += 1
        caller, request = knock.request
        status = (b"200", b"OK", b"%d" % self.given) if knock.why is None else (b"400", knock.why.encode(), b"")
        self.socket.send_multipart((caller, b"", _VERSION, request, *status, b""))

    def _refusal(self, host: str, mechanism: bytes, credentials: Sequence[bytes]) -> str | None:
        if not self._comes_from_where_it_may(host):
            return "its address is not one of --allow-peer"
        if mechanism == _CURVE and (not credentials or credentials[0] not in self._keys):
            return "its CURVE key is not one of --curve-clients"
        return None if mechanism in {_NULL, _CURVE} else f"it wants {mechanism.decode('ascii', 'replace')}"

    def _comes_from_where_it_may(self, host: str) -> bool:
        found = address(host)
        if not self._networks or found is None:
            return True  # over ipc the file's permissions decide
        return any(found in block for block in self._networks)
