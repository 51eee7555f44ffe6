"""ZMTP 3 by hand, for what no library would send (https://rfc.zeromq.org/spec/23/)."""

from __future__ import annotations

import socket
import struct
from itertools import islice, product
from string import ascii_letters

MORE, LONG, COMMAND = 1, 2, 4
_GREETING = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + b"\0" * 31


def connect(address: str | tuple[str, int], socket_type: bytes, *, timeout: float = 10.0) -> socket.socket:
    """A connection over which the handshake is done, to HOST and PORT or to a ZeroMQ address. Raises `OSError`."""
    connection = reached(address, timeout)
    try:
        connection.sendall(greeting(socket_type))
        read(connection, len(_GREETING))
        flags, length = read(connection, 2)
        read(connection, length if not flags & LONG else struct.unpack(">Q", bytes([length]) + read(connection, 7))[0])
    except BaseException:
        connection.close()
        raise
    return connection


def greeting(socket_type: bytes, more_properties: int = 0) -> bytes:
    """All that a peer sends until the other end has let it in; its own properties have names of three letters."""
    names = islice(product(ascii_letters.encode(), repeat=3), more_properties)
    properties = [(b"Socket-Type", socket_type), (b"Identity", b""), *((bytes(name), b"") for name in names)]
    ready = b"\x05READY" + b"".join(_property(name, value) for name, value in properties)
    return _GREETING + head(len(ready), COMMAND) + ready


def reached(address: str | tuple[str, int], timeout: float) -> socket.socket:
    """A connection over which nothing was said yet. Raises `OSError`."""
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout)
    if not address.startswith("ipc://"):
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        return socket.create_connection((host, int(port)), timeout)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    connection.connect(address.removeprefix("ipc://"))
    return connection


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


def head(length: int, flags: int = 0) -> bytes:
    """What goes before a frame of so many bytes."""
    return bytes([flags, length]) if length < 256 else bytes([flags | LONG]) + struct.pack(">Q", length)


def read(connection: socket.socket, count: int) -> bytes:
    """So many bytes. Raises `OSError` when there are no more."""
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("the other end has closed the connection")
        data += more
    return data
