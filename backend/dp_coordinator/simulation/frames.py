"""What ranks and the host of the collective say to each other over TCP: fixed-size frames in both directions."""

from __future__ import annotations

import socket
import struct
from enum import IntEnum
from typing import NamedTuple

_LAYOUT = struct.Struct("!B?IQQ")


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    """From a rank, first: its rank; `step` is the size of the group it expects."""
    CONTRIBUTION = 2
    """From a rank."""
    WELCOME_FIRST = 3
    """To a rank, first: no step has been taken yet."""
    WELCOME_BACK = 4
    """To a rank, first: the last step's outcome."""
    OUTCOME = 5
    """To a rank: the step that it contributed to begins."""
    NEWS = 6
    """To a rank: a step begins without it."""


class Frame(NamedTuple):
    """One message; fields that a kind does not use are 0."""

    kind: Kind
    unfinished: bool = False
    rank: int = 0
    wave: int = 0
    step: int = 0


class ConnectionLostError(ConnectionError):
    """The other end is gone, does not read, or does not speak this."""


class Channel:
    """Frames over a non-blocking TCP socket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self._received = bytearray()

    def send(self, frame: Frame) -> None:
        """Send one frame. Raises `ConnectionLostError`, also for a peer that does not read."""
        try:
            sent = self.socket.send(_LAYOUT.pack(*frame))
        except OSError as error:
            raise ConnectionLostError(str(error)) from error
        if sent != _LAYOUT.size:
            raise ConnectionLostError("the other end does not read")

    def receive(self) -> list[Frame]:
        """Give the frames that have arrived. Raises `ConnectionLostError`."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ConnectionLostError(str(error)) from error
        if not data:
            raise ConnectionLostError("closed by the other end")
        self._received += data
        whole = len(self._received) // _LAYOUT.size * _LAYOUT.size
        frames = [_frame(values) for values in _LAYOUT.iter_unpack(bytes(self._received[:whole]))]
        del self._received[:whole]
        return frames

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def _frame(values: tuple[int, bool, int, int, int]) -> Frame:
    try:
        return Frame(Kind(values[0]), *values[1:])
    except ValueError as error:
        raise ConnectionLostError(f"sends something else: {error}") from error
