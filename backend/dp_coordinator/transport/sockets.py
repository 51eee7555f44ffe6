"""The coordinator's three ZeroMQ sockets, bound. All of them belong to the thread that runs the loop."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import fields
from itertools import count
from socket import socket as KernelSocket

import zmq

from dp_coordinator.messages import Endpoints
from dp_coordinator.settings import SettingsError
from dp_coordinator.transport.allowance import MAX_MESSAGE
from dp_coordinator.transport.curve import Curve
from dp_coordinator.transport.ipc import OwnFile, check_free, file_of
from dp_coordinator.transport.peers import PeerWatch
from dp_coordinator.transport.zap import Doorkeeper
from dp_coordinator.words import Channel

REPORTS_HELD, MOST_REPORTS, FEWEST_REPORTS = 16_384, 200, 8
"""Messages of all engines together that libzmq may hold, and of each at most and at least.

Beyond it vLLM's engines queue on their side (their limits are off), and nothing is lost. After an outage all have
something queued: two hundred reports of 570 bytes from each of 1,024 engines took 500 MB.
"""
XPUB_HWM = 4
"""Messages per peer.

An XPUB takes in all that its peers' queues hold whenever it is looked at (xpub.cpp, `xread_activated`), and goes on as
long as they are filled: only a low mark makes their threads wait for ours, and not the other way round.
"""
SEND_HWM = 1_000
"""Messages per peer. A front-end that reads nothing for minutes loses old loads; every later one has the wave too."""
KEEPALIVE = {zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 4, zmq.TCP_KEEPALIVE_INTVL: 3, zmq.TCP_KEEPALIVE_CNT: 3}
"""Seconds, and probes: a link that died without a word is noticed after 13 s. See docs/decisions."""
UNACKNOWLEDGED_MS = 13_000
"""The same while something is on its way. A process that is stopped for less does not lose its connection."""
WITH_CURVE = " with CURVE"
"""After the name of a socket: its other address."""
IO_THREADS = 2
"""libzmq's threads: START is written to one engine after the other, and two threads halve the wait of the last one."""


def receive_hwm(channel: Channel, engines: int) -> int:
    """Messages of one peer that a socket may hold, where so many engines are expected."""
    if channel is not Channel.BACK_OUTPUT:
        return XPUB_HWM
    return max(FEWEST_REPORTS, min(MOST_REPORTS, REPORTS_HELD // engines))


class BindError(SettingsError):
    """A socket could not be bound; the text names the socket, the address and why."""


class Sockets:
    """front_publish (XPUB), back_output (PULL) and back_publish (XPUB), as vLLM's peers expect them."""

    def __init__(
        self,
        front_publish_address: str,
        back_output_address: str,
        back_publish_address: str,
        *,
        engines: int = 1,
        patient: bool = False,
        allow_peers: Sequence[str] = (),
        curve: Curve | None = None,
    ) -> None:
        """Bind all three, or raise `BindError` and leave nothing bound. TCP port 0 or * picks a free port.

        `engines`: how many are expected. `patient`: an address that cannot be bound now is tried again by
        `unreachable`. `allow_peers`: CIDR blocks from which peers may come by tcp, if not from everywhere. `curve`:
        where they may come with CURVE besides.
        """
        self.context = zmq.Context(io_threads=IO_THREADS)
        self.watches: dict[Channel, PeerWatch] = {}
        """Who is connected to each."""
        self._peer_ids = count(1)
        self._engines = engines
        self._patient = patient
        self._unbound: dict[str, tuple[zmq.Socket[bytes], str]] = {}
        """Name -> socket and the address it is to have."""
        self._files: dict[str, OwnFile] = {}
        self._channels: dict[int | str, Channel] = {}
        """Port or path -> the socket that is bound there."""
        self._curve = curve
        self._endpoints: dict[str, str] = {}
        """Name -> the address as really bound."""
        self.doorkeeper = Doorkeeper(self.context, allow_peers, () if curve is None else curve.clients)
        """Says who may come in."""
        try:
            self.front_publish = self._bind(Channel.FRONT_PUBLISH, zmq.XPUB, front_publish_address)
            self.back_output = self._bind(Channel.BACK_OUTPUT, zmq.PULL, back_output_address)
            self.back_publish = self._bind(Channel.BACK_PUBLISH, zmq.XPUB, back_publish_address)
        except BaseException:
            self.context.destroy(linger=0)
            raise

    def endpoints(self) -> Endpoints:
        """The addresses as really bound."""
        return Endpoints(**{end.name: self._endpoint(end.name) for end in fields(Endpoints)})

    def _endpoint(self, name: str) -> str:
        return self._unbound[name][1] if name in self._unbound else self._endpoints[name]

    def unreachable(self) -> dict[str, str]:
        """Name of each socket that nobody can connect to -> why, after another try to bind those not bound yet.

        To be asked now and then on the thread that owns the sockets.
        """
        found: dict[str, str] = {}
        for name, (socket, address) in list(self._unbound.items()):
            try:
                self._bind_now(name, socket, address)
                del self._unbound[name]
            except BindError as error:
                found[name] = str(error)
        lost = {name: file.lost() for name, file in self._files.items()}
        return found | {name: how for name, how in lost.items() if how is not None}

    def channel_of(self, end: KernelSocket) -> Channel | None:
        """Whose a connection is, by its address on this side; None when it is none of ours. Safe from any thread."""
        name = end.getsockname()
        return self._channels.get(name[1] if isinstance(name, tuple) else name)

    def close(self) -> None:
        """Close the sockets; what was sent last still gets up to a second to leave."""
        with contextlib.suppress(zmq.ZMQError):
            self.context.destroy(linger=1000)

    def __enter__(self) -> Sockets:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bind(self, channel: Channel, kind: int, address: str) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self.context.socket(kind)
        socket.setsockopt(zmq.RCVHWM, receive_hwm(channel, self._engines))
        socket.setsockopt(zmq.SNDHWM, SEND_HWM)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE[channel])
        if "[" in address:
            socket.setsockopt(zmq.IPV6, 1)
        if kind == zmq.XPUB:
            # Without it only the first of many equal subscriptions is seen, with VERBOSE only the last unsubscription.
            socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        socket.setsockopt(zmq.ZAP_DOMAIN, channel.value.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        for option, value in KEEPALIVE.items():
            socket.setsockopt(option, value)
        socket.setsockopt(zmq.TCP_MAXRT, UNACKNOWLEDGED_MS)
        self.watches[channel] = PeerWatch(channel, socket, self._peer_ids, self.doorkeeper, self._engines)
        wanted = {channel.value: address}
        if self._curve is not None:
            wanted[channel.value + WITH_CURVE] = self._curve.address_of(channel)
        for name, where in wanted.items():
            try:
                self._bind_now(name, socket, where)
            except BindError:
                if not self._patient:
                    raise
                self._unbound[name] = socket, where
        return socket

    def _bind_now(self, name: str, socket: zmq.Socket[bytes], address: str) -> None:
        file = file_of(address)
        try:
            if file is not None:
                check_free(file)
            # What is set holds for the addresses that are bound after it, and for those that connect there.
            with_curve = self._curve is not None and name.endswith(WITH_CURVE)
            if with_curve and self._curve is not None:
                socket.setsockopt(zmq.CURVE_SECRETKEY, self._curve.secret_key)
            if self._curve is not None:
                socket.setsockopt(zmq.CURVE_SERVER, int(with_curve))
            socket.bind(address)
        except (OSError, zmq.ZMQError) as error:
            raise BindError(f"cannot bind {name} to {address}: {error.strerror or error}") from None
        if file is not None:
            self._files[name] = OwnFile(file)
        self._endpoints[name] = bound = _last_endpoint(socket)
        port = bound.rpartition(":")[2] if bound.startswith("tcp:") else ""
        where = int(port) if port else bound.removeprefix("ipc://")
        self._channels[where] = Channel(name.removesuffix(WITH_CURVE))


def _last_endpoint(socket: zmq.Socket[bytes]) -> str:
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return endpoint.rstrip(b"\0").decode()
