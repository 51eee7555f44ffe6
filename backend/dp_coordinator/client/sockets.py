"""How the clients open and close their sockets and count down their timeouts."""

from __future__ import annotations

import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

import zmq
import zmq.asyncio

from dp_coordinator.wire.client import SUBSCRIBE

LINGER_MS = 500
"""How long closing may take to hand over what was sent but is still queued."""

Opened = TypeVar("Opened", bound="zmq.Socket[Any]")
Sent = TypeVar("Sent")
"""What sending returns: None, or what must be awaited."""


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """With which keys a client speaks CURVE to the addresses of --curve-address. Each as 40 characters (Z85)."""

    server: bytes
    """The coordinator's public key."""
    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def from_files(cls, secret_key_file: str, server_key_file: str) -> CurveKeys:
        """From this client's `*.key_secret` and the coordinator's `*.key`, as `zmq.auth.create_certificates` writes.

        Raises `OSError` or `ValueError` when one cannot be read or holds no such key.
        """
        from zmq import auth  # noqa: PLC0415  (few want it)

        public, secret = auth.load_certificate(secret_key_file)
        if secret is None:
            raise ValueError(f"{secret_key_file!r} holds no secret key; take the *.key_secret file")
        return cls(auth.load_certificate(server_key_file)[0], public, secret)


class Connection(Generic[Opened, Sent]):
    """What all clients share. The first of their sockets subscribes at once, the last one sends."""

    def __init__(self, *wanted: tuple[int, str], topic: bytes = b"", curve: CurveKeys | None = None) -> None:
        """Open sockets of (type, address), and subscribe to what begins with `topic`; with CURVE if there are keys.

        `ValueError` names one that cannot be connected, and nothing stays open.
        """
        self._context = self._new_context()
        self._sockets: list[Opened] = []
        try:
            for kind, address in wanted:
                self._sockets.append(_connected(self._context, kind, address, curve))
        except ValueError:
            self._context.destroy(linger=0)
            raise
        # A plain send of a few bytes to a socket without a high-water mark never blocks.
        zmq.Socket.shadow(self._sockets[0]).send(SUBSCRIBE + topic)

    def _new_context(self) -> zmq.Context[Opened]:
        raise NotImplementedError

    def _send(self, frame: bytes) -> Sent:
        raise NotImplementedError

    def close(self) -> None:
        """Unsubscribe and close; what was sent is still handed over, within half a second."""
        for socket in self._sockets:
            if not socket.closed:
                socket.close()
        if not self._context.closed:
            self._context.term()


class Blocking(Connection["zmq.Socket[bytes]", None]):
    """A connection whose methods wait."""

    def _new_context(self) -> zmq.Context[zmq.Socket[bytes]]:
        return zmq.Context()

    def _send(self, frame: bytes) -> None:
        self._sockets[-1].send(frame)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The socket to register in a `zmq.Poller` of your own; when it is readable take in what has arrived."""
        return self._sockets[0]

    def fileno(self) -> int:
        """File descriptor for select and its kind.

        It tells changes only (edge-triggered, as ZeroMQ's are): after it, and before waiting on it, take in all that
        has arrived, by `EngineClient.poll_start` until it gives None or by `FrontendClient.update`.
        """
        return int(self.socket.getsockopt(zmq.FD))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Asynchronous(Connection[zmq.asyncio.Socket, Coroutine[Any, Any, None]]):
    """A connection whose methods are awaited. Made in a running loop."""

    def _new_context(self) -> zmq.asyncio.Context:
        return zmq.asyncio.Context()

    async def _send(self, frame: bytes) -> None:
        await self._sockets[-1].send(frame)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _connected(context: zmq.Context[Opened], kind: int, address: str, curve: CurveKeys | None) -> Opened:
    """Connect a socket as vLLM's ends do, without a high-water mark, but so that closing it is bounded."""
    socket = context.socket(kind)
    socket.set_hwm(0)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.IPV6, int(address.startswith("tcp://[")))
    try:
        if curve is not None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server)
            socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret)
        socket.connect(address)
    except zmq.ZMQError as error:
        raise ValueError(f"cannot connect to {address!r}: {error.strerror}") from error
    return socket


class Deadline:
    """A moment `seconds` from now; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    def poll_ms(self) -> int | None:
        """Milliseconds left, in the unit of ZeroMQ's poll; 0 when it has passed, None for never."""
        if self._at is None:
            return None
        return max(0, math.ceil((self._at - time.monotonic()) * 1000))
