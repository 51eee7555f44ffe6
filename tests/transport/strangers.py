"""A hostile peer that speaks ZMTP 3 by itself: `python -m tests.transport.strangers ATTACK ADDRESS SECONDS KIND`.

It connects again whenever it is cut off, and prints how often it was. `benchmarks.strangers` measures under it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from tests.transport.zmtp import COMMAND, MORE, connect, greeting, head, reached

MIB = 1 << 20
XSUB, PUSH = b"XSUB", b"PUSH"


def frame(body: bytes, *, more: bool = False, size: int | None = None) -> bytes:
    """A ZMTP frame; `size` is what it says, if not the truth."""
    return head(len(body) if size is None else size, MORE if more else 0) + body


def connected(address: str, kind: bytes) -> socket.socket:
    """A connection that has shaken hands."""
    return connect(address, kind, timeout=5.0)


def _send(end: socket.socket, what: bytes, until: float) -> None:
    end.settimeout(0.5)
    left = memoryview(what)
    while left and time.monotonic() < until:
        with suppress(TimeoutError):
            left = left[end.send(left) :]


def _again_and_again(what: bytes) -> Callable[[str, bytes, float], int]:
    def attack(address: str, kind: bytes, until: float) -> int:
        cut = 0
        while time.monotonic() < until:
            try:
                with connected(address, kind) as end:
                    while time.monotonic() < until:
                        _send(end, what, until)
            except OSError:
                cut += 1
                time.sleep(0.1)  # as libzmq does
        return cut

    return attack


def _unfinished(size: int, count: int) -> Callable[[str, bytes, float], int]:
    """Connections that each send a frame but for its last byte, and stay."""

    def attack(address: str, kind: bytes, until: float) -> int:
        ends, cut = list[socket.socket](), 0
        while len(ends) < count and time.monotonic() < until:
            ends.append(connected(address, kind))
        for end in ends:
            try:
                end.sendall(frame(b"", size=size))
                for _ in range(size // MIB):
                    _send(end, bytes(MIB), until)
                _send(end, bytes(size % MIB - 1), until)
            except OSError:
                cut += 1
        time.sleep(max(0.0, until - time.monotonic()))
        return cut

    return attack


def _crowd(count: int, properties: int = 0) -> Callable[[str, bytes, float], int]:
    """Connections that greet, with so many properties of their own, and stay; they do not wait to be let in."""

    def attack(address: str, kind: bytes, until: float) -> int:
        ends, what = list[socket.socket](), greeting(kind, properties)
        while len(ends) < count and time.monotonic() < until:
            with suppress(OSError):
                ends.append(reached(address, 5.0))
                ends[-1].sendall(what)
        time.sleep(max(0.0, until - time.monotonic()))
        return sum(map(is_over, ends))

    return attack


def is_over(end: socket.socket) -> bool:
    """Whether the other end has ended it."""
    end.setblocking(False)
    try:
        while end.recv(MIB):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


Attack = Callable[[str, bytes, float], int]
ATTACKS: dict[str, Callable[[], Attack]] = {
    "endless": lambda: _again_and_again(frame(bytes(4000), more=True) * 250),
    "endless-small": lambda: _again_and_again(frame(b"", more=True) * 200_000),
    "small": lambda: _again_and_again(frame(b"\2") * 200_000),
    "notices": lambda: _again_and_again(frame(b"\x92\0\0") * 100_000),
    "subscriptions": lambda: _again_and_again((frame(b"\1") + frame(b"\0")) * 100_000),
    "topics": lambda: _again_and_again(b"".join(frame(b"\1" + os.urandom(1000)) for _ in range(5_000))),
    "topic-60mb": lambda: _again_and_again(frame(b"\1" + bytes(60_000_000))),
    "mib": lambda: _again_and_again(frame(bytes(MIB))),
    "unreadable": lambda: _again_and_again(frame(b"junk" * 100) * 10_000),
    "unfinished-60mb": lambda: _unfinished(60_000_000, 40),
    "unfinished-1mb": lambda: _unfinished(1_000_000, 300),
    "pings": lambda: _again_and_again((head(7, COMMAND) + b"\4PING\0\0") * 50_000),
    "crowd": lambda: _crowd(900),
    "greetings": lambda: _crowd(900, 7_500),
    "short-greetings": lambda: _crowd(900, 480),
}
"""By name; made when asked for, as some are large."""


def main() -> None:
    """Attack, and print how often the connection was cut off."""
    name, address, seconds, kind = sys.argv[1:5]
    print(ATTACKS[name]()(address, kind.encode(), time.monotonic() + float(seconds)), flush=True)


if __name__ == "__main__":
    main()
