"""ZMTP 3 by hand, for what no library would send (https://rfc.zeromq.org/spec/23/)."""

from __future__ import annotations

import socket
import struct

MORE, LONG, COMMAND = 1, 2, 4
_GREETING = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + b"\0" * 31


def connect(address: tuple[str, int], socket_type: bytes, *, timeout: float = 10.0) -> socket.socket:
    """A connection over which the handshake is done. Raises `OSError`."""
    connection = socket.create_connection(address, timeout)
    try:
        connection.sendall(_GREETING)
        read(connection, len(_GREETING))
        name, value = b"Socket-Type", struct.pack(">I", len(socket_type)) + socket_type
        ready = b"\x05READY" + bytes([len(name)]) + name + value
        connection.sendall(bytes([COMMAND, len(ready)]) + ready)
        flags, length = read(connection, 2)
        read(connection, length if not flags & LONG else struct.unpack(">Q", bytes([length]) + read(connection, 7))[0])
    except BaseException:
        connection.close()
        raise
    return connection


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
