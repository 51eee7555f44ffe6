"""The coordinator's three ZeroMQ sockets, bound. All of them belong to the thread that runs the loop."""

from __future__ import annotations

import contextlib

import zmq

from dp_coordinator.messages import Endpoints
from dp_coordinator.settings import SettingsError

RECEIVE_HWM = 10_000
"""Messages per peer. Beyond it vLLM's engines queue on their side (their limits are off), and nothing is lost."""
SEND_HWM = 10_000
"""Messages per peer. A front-end that reads nothing for minutes loses old loads; every later one has the wave too."""
MAX_MESSAGE = 64 << 20
"""Bytes; libzmq closes the connection of a peer that sends more, before it takes up memory."""
IO_THREADS = 2
"""libzmq's threads: START is written to one engine after the other, and two threads halve the wait of the last one."""


class BindError(SettingsError):
    """A socket could not be bound; the text names the socket, the address and why."""


class Sockets:
    """front_publish (XPUB), back_output (PULL) and back_publish (XPUB), as vLLM's peers expect them."""

    def __init__(self, front_publish_address: str, back_output_address: str, back_publish_address: str) -> None:
        """Bind all three, or raise `BindError` and leave nothing bound. TCP port 0 or * picks a free port."""
        self.context = zmq.Context(io_threads=IO_THREADS)
        try:
            self.front_publish = self._bind("front_publish", zmq.XPUB, front_publish_address)
            self.back_output = self._bind("back_output", zmq.PULL, back_output_address)
            self.back_publish = self._bind("back_publish", zmq.XPUB, back_publish_address)
        except BaseException:
            self.context.destroy(linger=0)
            raise

    def endpoints(self) -> Endpoints:
        """The addresses as really bound."""
        return Endpoints(
            front_publish=_last_endpoint(self.front_publish),
            back_output=_last_endpoint(self.back_output),
            back_publish=_last_endpoint(self.back_publish),
        )

    def close(self) -> None:
        """Close the sockets; what was sent last still gets up to a second to leave."""
        with contextlib.suppress(zmq.ZMQError):
            self.context.destroy(linger=1000)

    def __enter__(self) -> Sockets:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bind(self, name: str, kind: int, address: str) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self.context.socket(kind)
        socket.setsockopt(zmq.RCVHWM, RECEIVE_HWM)
        socket.setsockopt(zmq.SNDHWM, SEND_HWM)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        if "[" in address:
            socket.setsockopt(zmq.IPV6, 1)
        if kind == zmq.XPUB:
            # Without it only the first of many equal subscriptions is seen, with VERBOSE only the last unsubscription.
            socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            raise BindError(f"cannot bind {name} to {address}: {error.strerror or error}") from None
        return socket


def _last_endpoint(socket: zmq.Socket[bytes]) -> str:
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return endpoint.rstrip(b"\0").decode()
