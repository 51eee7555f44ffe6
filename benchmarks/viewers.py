"""People watching the dashboard: many WebSocket connections in one process that gets only CPU which nobody wants.

They would sit at other machines, so they must cost next to nothing here: plain sockets behind one epoll, drained into
one buffer a hundred times a second; frames are counted by their headers and never looked into. They ask for what the
page asks for, and offer the compression that browsers offer.
"""

from __future__ import annotations

import base64
import itertools
import multiprocessing
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NamedTuple
from urllib.parse import urlsplit

ATTACH_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 30.0
_PAUSE_S = 0.01
_MESSAGES_AT_FIRST = 2  # hello, then a snapshot
_SMALL_BUFFER = 4096
"""Bytes that the kernel takes for a viewer who never reads; Linux doubles it."""
_PING, _PONG = 9, 10
_CONTROL = 8
"""Opcodes from here on: frames of at most 125 bytes."""


class Taken(NamedTuple):
    """What one viewer was sent so far, and when it was disconnected (CLOCK_MONOTONIC)."""

    messages: int
    received: int
    closed_at: float | None


class Audience:
    """The parent's end."""

    def __init__(self, pipe: Connection[None, list[Taken]]) -> None:
        self._pipe = pipe

    def taken(self) -> list[Taken]:
        """What each viewer has taken so far."""
        self._pipe.send(None)
        return self.answer(ANSWER_TIMEOUT_S)

    def answer(self, timeout_s: float) -> list[Taken]:
        """The next answer of the viewers' process."""
        if not self._pipe.poll(timeout_s):
            raise RuntimeError("the viewers could not be attached, or do not answer")
        return self._pipe.recv()


@contextmanager
def viewers(http_url: str, count: int, *, reading: bool = True) -> Iterator[Audience]:
    """`count` viewers, each of which has had its first snapshot; or is attached and reads nothing from then on."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_main, args=(theirs, http_url, count, reading), daemon=True)
    process.start()
    theirs.close()
    try:
        audience = Audience(ours)
        audience.answer(ATTACH_TIMEOUT_S)
        yield audience
    finally:
        process.kill()
        process.join()
        ours.close()


def _main(pipe: Connection[list[Taken], None], http_url: str, count: int, reading: bool) -> None:
    # Not nice(19): a task that is only nice is let run to the end of its slice before others get the CPU.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    _Crowd(http_url, count, reading).serve(pipe)


@dataclass(slots=True)
class _Viewer:
    sock: socket.socket
    attached: bool = False
    """Whether the server agreed to talk WebSocket."""
    pending: bytes = b""
    """The beginning of something that is not here in full yet: the server's answer, or a frame's header."""
    left: int = 0
    """Bytes of the current frame that are still to come."""
    messages: int = 0
    received: int = 0
    closed_at: float | None = None


class _Crowd:
    def __init__(self, http_url: str, count: int, reading: bool) -> None:
        self._reading = reading
        self._epoll = select.epoll()
        self._buffer = bytearray(1 << 18)
        self._viewers: dict[int, _Viewer] = {}
        url = urlsplit(http_url)
        for _ in range(count):
            self._connect(url.hostname or "", url.port or 80)

    def _connect(self, host: str, port: int) -> None:
        sock = socket.socket()
        if not self._reading:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        sock.connect((host, port))
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(
            f"GET /api/v1/stream?changes=1 HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        sock.setblocking(False)
        self._epoll.register(sock, select.EPOLLIN)
        self._viewers[sock.fileno()] = _Viewer(sock)

    def serve(self, pipe: Connection[list[Taken], None]) -> None:
        """Drain everybody, say once when all are attached, and then what was taken whenever it is asked."""
        waiting = True
        while True:
            for number, _ in self._epoll.poll(0.1):
                self._take(self._viewers[number])
            if waiting and all(self._settled(viewer) for viewer in self._viewers.values()):
                waiting = False
                pipe.send(self._taken())
            while pipe.poll():
                pipe.recv()
                pipe.send(self._taken())
            time.sleep(_PAUSE_S)

    def _settled(self, viewer: _Viewer) -> bool:
        return viewer.messages >= _MESSAGES_AT_FIRST if self._reading else viewer.attached

    def _taken(self) -> list[Taken]:
        return [Taken(viewer.messages, viewer.received, viewer.closed_at) for viewer in self._viewers.values()]

    def _take(self, viewer: _Viewer) -> None:
        size = 0
        with suppress(ConnectionError):
            if self._reading or not viewer.attached:  # else it has been hung up on: no other event was asked for
                size = viewer.sock.recv_into(self._buffer)
        if not size:
            self._epoll.unregister(viewer.sock)
            viewer.closed_at = time.monotonic()
            return
        viewer.received += size
        at = 0
        if not viewer.attached and (at := self._answer(viewer, size)) == size:
            return
        self._frames(viewer, at, size)

    def _answer(self, viewer: _Viewer, size: int) -> int:
        """Where the frames begin, behind the answer to the upgrade."""
        before = len(viewer.pending)
        viewer.pending += self._buffer[:size]
        end = viewer.pending.find(b"\r\n\r\n") + 4
        if end < 4:
            return size
        if not viewer.pending.startswith(b"HTTP/1.1 101 "):
            raise RuntimeError(f"the server refused a viewer: {viewer.pending[:200]!r}")
        viewer.attached, viewer.pending = True, b""
        if self._reading:
            return end - before
        self._epoll.modify(viewer.sock, 0)  # what is left are hang-ups
        return size

    def _frames(self, viewer: _Viewer, at: int, size: int) -> None:
        data: bytes | bytearray = self._buffer
        if viewer.pending:
            data, viewer.pending = viewer.pending + data[at:size], b""
            at, size = 0, len(data)
        while at < size:
            if viewer.left:
                step = min(viewer.left, size - at)
                viewer.left -= step
                at += step
                continue
            header = _header(data, at, size)
            if header is None:
                viewer.pending = bytes(data[at:size])
                return
            start, length = header
            opcode = data[at] & 15
            if opcode < _CONTROL:
                viewer.messages += 1
            elif opcode == _PING:
                _pong(viewer.sock, bytes(data[start : start + length]))
            viewer.left, at = length, start


def _header(data: bytes | bytearray, at: int, size: int) -> tuple[int, int] | None:
    """Where a frame's payload starts, and its length; None when more is needed: a ping is needed as a whole."""
    if size - at < 2:
        return None
    length, start = data[at + 1], at + 2
    extra = {126: 2, 127: 8}.get(length, 0)
    if extra:
        length, start = int.from_bytes(data[start : start + extra]), start + extra
    whole = start + length if data[at] & 15 >= _CONTROL else start
    return (start, length) if whole <= size else None


def _pong(sock: socket.socket, payload: bytes) -> None:
    mask = os.urandom(4)
    masked = bytes(byte ^ key for byte, key in zip(payload, itertools.cycle(mask), strict=False))
    sock.send(bytes((0x80 | _PONG, 0x80 | len(payload))) + mask + masked)
