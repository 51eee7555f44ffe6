"""What the kernel tells of a connection by its descriptor, and how to end one that belongs to libzmq.

A descriptor is a number that is used again, and libzmq closes it on a thread of its own. Whatever is done to one is
done to a copy of it, once the copy's cookie has told that it is still the connection that was meant.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import socket
import struct
import termios
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TypeAlias

from dp_coordinator.core.events import Peer
from dp_coordinator.processes import engine_of, title_of
from dp_coordinator.words import Channel

_CREDENTIALS = struct.Struct("3i")
_TCP_INFO = struct.Struct("8B120xQ")
"""The kernel's tcp_info up to `tcpi_bytes_received` (Linux 4.1)."""
_RETRANSMITS, _PROBES, _RECEIVED = 2, 3, 8
_SO_COOKIE = getattr(socket, "SO_COOKIE", 57)
_INT = struct.Struct("i")
_NO_LINGER = struct.pack("ii", 1, 0)
_NOWHERE = bytearray(1 << 18)

Cookie: TypeAlias = bytes
"""What tells one connection from every other one that this machine had or will have; empty where nothing does."""


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """The socket of a descriptor that is libzmq's, and stays so. Raises `OSError` when it has gone."""
    end = socket.socket(fileno=descriptor)
    try:
        yield end
    finally:
        end.detach()


def cookie_of(end: socket.socket) -> Cookie:
    """The kernel's number of this connection (Linux 4.12)."""
    with suppress(OSError):
        return end.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
    return b""


def sever(descriptor: int, cookie: Cookie) -> bool:
    """End a connection, if the descriptor is still its own, and throw away what waits in the kernel; whether it was.

    libzmq is told by the kernel, as if the other end had gone, and does the rest. What it reads meanwhile may be the
    middle of something; whoever reads its messages must not heed those of a severed connection.
    """
    try:
        with _copied(descriptor) as end:
            if cookie_of(end) != cookie:
                return False
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)  # tcp: the other end is told by a reset
            end.shutdown(socket.SHUT_RDWR)
            _throw_away(end)
    except OSError:
        return False  # it has gone already
    return True


def _throw_away(end: socket.socket) -> None:
    # Of tcp the kernel throws it away itself (tcp(7), MSG_TRUNC).
    flags = socket.MSG_DONTWAIT if end.family == socket.AF_UNIX else socket.MSG_DONTWAIT | socket.MSG_TRUNC
    with suppress(BlockingIOError):
        while end.recv_into(_NOWHERE, 0, flags):
            pass


@cache
def spare() -> tuple[int, int, threading.Lock]:
    """A descriptor for the copy of another one, one of nothing to put there afterwards, and who may use them.

    To be asked for before there is trouble: when no descriptor is left, a connection must be ended all the same.
    """
    return os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY), threading.Lock()


@contextmanager
def _copied(descriptor: int) -> Iterator[socket.socket]:
    copy, nothing, lock = spare()
    with lock:
        try:
            os.dup2(descriptor, copy, inheritable=False)
            with borrowed(copy) as end:
                yield end
        finally:
            os.dup2(nothing, copy, inheritable=False)


def open_descriptors() -> Iterable[int]:
    """All that this process has. Raises `OSError` where the system does not tell."""
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError as error:
        if error.errno not in {errno.EMFILE, errno.ENFILE}:
            raise
        return range(resource.getrlimit(resource.RLIMIT_NOFILE)[0])  # there is none left to look with: all are open


def received(end: socket.socket, few: int = 0) -> tuple[int | None, int]:
    """Bytes that came through it since it was made (None where the kernel does not count them: ipc), and that wait.

    Where no more than `few` came at all it is not asked how many wait, which costs the interpreter's lock.
    """
    total = None if end.family == socket.AF_UNIX else _tcp_info(end)[_RECEIVED]
    if total is not None and total <= few:
        return total, 0
    return total, _INT.unpack(fcntl.ioctl(end, termios.FIONREAD, bytes(_INT.size)))[0]


def state_of(descriptor: int, cookie: Cookie) -> tuple[bool, int] | None:
    """Whether the other end of a tcp connection left something unanswered, and bytes that came; None: it has gone."""
    try:
        with borrowed(descriptor) as end:
            if cookie_of(end) != cookie:
                return None
            info = _tcp_info(end)
    except OSError:
        return None
    return bool(info[_RETRANSMITS] or info[_PROBES]), info[_RECEIVED]


def _tcp_info(end: socket.socket) -> tuple[int, ...]:
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return _TCP_INFO.unpack(info.ljust(_TCP_INFO.size, b"\0"))


def peer_at(descriptor: int, number: int, channel: Channel) -> tuple[Peer, Cookie]:
    """Who is at the other end, as a peer of this number, and the connection's cookie."""
    try:
        with borrowed(descriptor) as end:
            return peer_of(end, number, channel), cookie_of(end)
    except (OSError, ValueError):
        return Peer(number, channel, "", "unknown"), b""  # it has gone already


def peer_of(end: socket.socket, number: int, channel: Channel) -> Peer:
    """The same of a socket. Raises `OSError` when it is not connected."""
    if end.family == socket.AF_UNIX:
        pid, uid, _ = _CREDENTIALS.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        title = title_of(pid)
        return Peer(number, channel, "", "ipc", "", pid or None, title, engine_of(title), uid if pid else None)
    host, port = end.getpeername()[:2]
    return Peer(number, channel, host, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
