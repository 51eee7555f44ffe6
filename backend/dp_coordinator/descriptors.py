"""Who gets how many open files: engines and front-ends first, then the page, and a few are spare.

Each engine holds two connections (back_publish and back_output), each front-end one. What libzmq cannot accept it drops
without a word, so how many engines fit is worked out and said at the start.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dp_coordinator.limits import TokenBucket

log = logging.getLogger("dp_coordinator")

PER_ENGINE = 2
SPARE = 12
"""For a recording's next file, the journal, and whatever libraries open for a moment."""
WANTED_AT_LEAST = 16_384
LEAST = 32
"""Without so many not even the sockets and threads can be made, with which the sharing out begins."""
_NO_FILES_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Budget:
    """How the open files that this process may have are shared."""

    limit: int
    engines: int
    """So many fit, with a front-end and the page beside them."""
    web: int
    """Connections to the page, at most."""

    def __str__(self) -> str:
        page = f"; the page gets {self.web}" if self.web else ""
        return f"of {self.limit} open files there is room for {self.engines} engines{page}"


def share(engine_count: int, web: int, *, others: int = 0, in_use: int | None = None) -> Budget:
    """Raise the limit as far as allowed and needed, and share it out.

    `web`: what the page would like to have, `others`: what is taken in any case.
    """
    used = others + (_in_use() if in_use is None else in_use)
    front_ends = max(8, min(256, engine_count))
    limit = _raised(max(WANTED_AT_LEAST, used + SPARE + PER_ENGINE * engine_count + front_ends + web))
    free = limit - used - SPARE
    least = max(2, min(16, free // 4)) if web else 0
    left = free - PER_ENGINE * engine_count - front_ends
    return Budget(limit, max(0, (free - least - 1) // PER_ENGINE), max(least, min(web, left)))


def too_few() -> str | None:
    """What is wrong where too few files may be open to begin with; None where there are enough."""
    if (limit := _raised(LEAST)) >= LEAST:
        return None
    return f"only {limit} files may be open, and {LEAST} are the least (raise it: ulimit -Hn)"


def _in_use() -> int:
    with suppress(OSError):
        return len(os.listdir("/dev/fd"))
    return 32


def _raised(wanted: int) -> int:
    """The limit after it was raised as far as it can be: the usual one of 1,024 is below what is allowed anyway."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


class Listener(socket.socket):
    """A listening socket that has a bounded number of connections open; whoever comes then waits in its queue.

    They wait for a moment only: whoever serves closes one for each newcomer as soon as there are fewer places left
    (`web.connections`). When the process has no file left at all, whoever comes is turned away: asyncio would write a
    traceback for each.
    """

    def __init__(self, listening: socket.socket, most: int) -> None:
        """`most`: connections at a time."""
        family, kind, protocol = listening.family, listening.type, listening.proto
        super().__init__(family, kind, protocol, fileno=listening.detach())
        self.most = most
        self.turned_away = 0
        self._open = 0
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        """Given up for a moment to accept, and close, a connection when there is no file left."""
        self._said = TokenBucket(rate=1 / 60, burst=1, now=time.monotonic())

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection, or `BlockingIOError` when there is none to be had."""
        if self._open >= self.most:
            raise BlockingIOError(errno.EAGAIN, "it waits until there is room")
        try:
            connection, address = super().accept()
        except OSError as error:
            if error.errno not in _NO_FILES_LEFT:
                raise
            self._drop_one()
            self._turn_away(f"{error.strerror}")
        self._open += 1
        return _Connection(connection, self._forget_one), address

    def close(self) -> None:
        """Stop listening."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        super().close()

    def _forget_one(self) -> None:
        self._open -= 1

    def _drop_one(self) -> None:
        if self._spare is None:
            return
        os.close(self._spare)
        self._spare = None
        with suppress(OSError):
            super().accept()[0].close()
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _turn_away(self, why: str) -> None:
        self.turned_away += 1
        if self._said.take(time.monotonic()):
            log.warning("a connection to the page was turned away (%s), the %d. since the start", why, self.turned_away)
        raise BlockingIOError(errno.EAGAIN, why)


class _Connection(socket.socket):
    """A socket that tells when it is closed."""

    def __init__(self, accepted: socket.socket, closed: Callable[[], None]) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._tell: Callable[[], None] | None = closed
        self.setblocking(False)

    def _real_close(self, *more: Any) -> None:
        super()._real_close(*more)  # type: ignore[misc]
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()
