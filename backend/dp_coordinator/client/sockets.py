"""How the clients open their sockets and count down their timeouts."""

from __future__ import annotations

import math
import time
from typing import Any, TypeVar

import zmq

LINGER_MS = 500
"""How long closing may take to hand over what was sent but is still queued."""

Opened = TypeVar("Opened", bound="zmq.Socket[Any]")


def open_all(context: zmq.Context[Opened], *wanted: tuple[int, str]) -> tuple[Opened, ...]:
    """Open sockets of (type, address). If an address cannot be used nothing stays open and `ValueError` names it."""
    opened: list[Opened] = []
    try:
        for kind, address in wanted:
            opened.append(_open(context, kind))
            _connect(opened[-1], address)
    except ValueError:
        for socket in opened:
            socket.close(0)
        context.term()
        raise
    return tuple(opened)


def _open(context: zmq.Context[Opened], kind: int) -> Opened:
    """Open a socket as vLLM's ends do, without a high-water mark, but so that closing it is bounded."""
    socket = context.socket(kind)
    socket.set_hwm(0)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    return socket


def _connect(socket: zmq.Socket[Any], address: str) -> None:
    socket.setsockopt(zmq.IPV6, int(address.startswith("tcp://[")))
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise ValueError(f"cannot connect to {address!r}: {error.strerror}") from error


class Deadline:
    """A moment `seconds` from now; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    def poll_ms(self) -> int | None:
        """Milliseconds left, in the unit of ZeroMQ's poll; 0 when it has passed, None for never."""
        if self._at is None:
            return None
        return max(0, math.ceil((self._at - time.monotonic()) * 1000))
