"""The connection below a request or a viewer's WebSocket."""

from __future__ import annotations

import contextlib
import socket
import struct
from functools import cached_property

from starlette.types import Send

from dp_coordinator.web.stream.frames import undone_by

CONNECTION = "dp_coordinator.connection"
"""Where a scope holds its `Connection`."""


class Connection:
    """The connection below a request or a WebSocket, for what ASGI has no words for.

    uvicorn's `send` is a method of the object that owns the transport. Under another server nothing can be done here.
    """

    def __init__(self, send: Send) -> None:
        self._protocol = getattr(send, "__self__", None)
        self._transport = getattr(self._protocol, "transport", None)

    @property
    def writable(self) -> bool:
        """Whether `write` can work at all."""
        return self._transport is not None

    @property
    def closing(self) -> bool:
        """Whether it is over, or soon will be: after the goodbye of a WebSocket nothing may be written."""
        said_goodbye = getattr(self._protocol, "close_sent", False)
        return self._transport is not None and bool(said_goodbye or self._transport.is_closing())

    def keep(self) -> bool:
        """Let an answer on it last as long as it wants to; False when there are too many such answers."""
        protocol = self._transport.get_protocol() if self._transport is not None else None
        keep = getattr(protocol, "keep", lambda: True)
        return bool(keep())

    @cached_property
    def deflates(self) -> bool:
        """Whether the peer undoes compression; to be asked once the handshake is over."""
        return undone_by(getattr(getattr(self._protocol, "conn", None), "extensions", ()))

    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return int(self._transport.get_write_buffer_size()) if self._transport is not None else 0

    def write(self, frames: bytes) -> None:
        """Write whole WebSocket frames behind the server's back; what does not fit now is kept and follows."""
        if self._transport is not None and not self.closing:
            self._transport.write(frames)

    def abort(self) -> None:
        """Cut it at once: an orderly close, and then the kernel, would wait for a peer who reads nothing."""
        self._set_option(socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self._transport is not None:
            self._transport.abort()

    def bound_buffer(self, size: int) -> None:
        """Let the kernel hold about `size` bytes that the peer has not taken; by itself it takes megabytes."""
        self._set_option(socket.SO_SNDBUF, size)

    def _set_option(self, option: int, value: int | bytes) -> None:
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):  # it has gone
                sock.setsockopt(socket.SOL_SOCKET, option, value)
