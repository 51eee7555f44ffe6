"""Who may come in at all: the answers to ZAP (rfc.zeromq.org/spec/27), by which libzmq asks at each handshake.

That there is somebody to ask has libzmq refuse what cannot be asked about: ZMTP 1.0 and 2.0, and with them HTTP, TLS
and whatever else is no greeting of ZMTP 3, which it would take for a subscriber of ZMTP 1.0
(zmtp_engine.cpp, `handshake_v1_0_unversioned`). vLLM's peers (NULL) come in, over tcp and ipc.

Each is given a number, which its frames carry. Unlike a descriptor it is never used again, and later ones are larger.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import zmq

from dp_coordinator.hosts import network
from dp_coordinator.words import Channel

ADDRESS = "inproc://zeromq.zap.01"
NUMBER = "User-Id"
"""The property of a frame that holds its connection's number."""
_AT_ONCE = 256
_VERSION = b"1.0"
_NULL, _CURVE = b"NULL", b"CURVE"


class Refused(NamedTuple):
    """Somebody who was not let in."""

    channel: str
    address: str
    why: str


class Doorkeeper:
    """Answers. Must be made before the sockets are bound, in their context, on their thread."""

    def __init__(
        self, context: zmq.Context[Any], allowed: Sequence[str] = (), curve_keys: Collection[bytes] = ()
    ) -> None:
        """`allowed`: addresses and CIDR blocks that may come by tcp; none: all. `curve_keys`: public keys, 32 bytes."""
        self._networks = [network(text) for text in allowed]
        self._keys = frozenset(curve_keys)
        self.given = 0
        """The number that was given last."""
        self.socket: zmq.Socket[Any] = context.socket(zmq.REP)
        """Readable when somebody is at the door."""
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ADDRESS)

    def answer(self, take_changes: Callable[[Channel], None]) -> Iterator[Refused]:
        """Answer those who wait, or some hundreds of them; gives those that were refused.

        `take_changes` is called for each before it has its number: whoever had its descriptor before ended before that,
        so that what has a larger number than was given when that one ended is not of that one (transport/peers.py).
        """
        for _ in range(_AT_ONCE):
            try:
                _, request, channel, address, _, mechanism, *credentials = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            take_changes(Channel(channel.decode()))
            why = self._refusal(address.decode("ascii", "replace"), mechanism, credentials)
            self.given += 1
            status = (b"200", b"OK", b"%d" % self.given) if why is None else (b"400", why.encode(), b"")
            self.socket.send_multipart((_VERSION, request, *status, b""))
            if why is not None:
                yield Refused(channel.decode(), address.decode("ascii", "replace"), why)

    def _refusal(self, address: str, mechanism: bytes, credentials: Sequence[bytes]) -> str | None:
        if not self._comes_from_where_it_may(address):
            return "its address is not one of --allow-peer"
        if mechanism == _CURVE and (not credentials or credentials[0] not in self._keys):
            return "its CURVE key is not one of --curve-clients"
        return None if mechanism in {_NULL, _CURVE} else f"it wants {mechanism.decode('ascii', 'replace')}"

    def _comes_from_where_it_may(self, address: str) -> bool:
        if not self._networks:
            return True
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return True  # ipc, where the file's permissions decide
        found = getattr(found, "ipv4_mapped", None) or found  # a socket of [::] shows IPv4 peers so
        return any(found in block for block in self._networks)
