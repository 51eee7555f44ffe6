"""Watches this process's memory beside the loop, and ends connections that fill it with what the loop never sees.

On a thread of its own, because such a peer may keep the loop inside libzmq. Most of the time it reads one number twenty
times a second.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dp_coordinator.transport.backlog import Backlog
from dp_coordinator.transport.sockets import Sockets
from dp_coordinator.words import Channel

log = logging.getLogger("dp_coordinator")

INTERVAL_S, TROUBLED_INTERVAL_S = 0.05, 0.005
MARGIN, NEVER_MUCH = 32 << 20, 112 << 20
"""Bytes; so much more than a moment ago is trouble, unless it is less than a coordinator may need at any time."""
RISE = 4 << 20
"""Bytes a second by which it may grow."""
LATE_S = 0.4
"""The loop is in trouble when it is so late; on a busy machine it may be late for a while without any."""
GROWS_S = 0.25
"""From the last growth until looks need not follow each other as fast as they can."""
CALM_S = 2.0
"""From the last growth until what is held is taken for needed."""
_PAGE = os.sysconf("SC_PAGESIZE")


def limit_memory(megabytes: int) -> None:
    """Have the kernel refuse memory beyond so many MiB more than this process has now; 0 for no such limit.

    It is the data that counts (RLIMIT_DATA), not addresses: threads reserve far more of those than they ever use.
    """
    data = _status("VmData")
    if not megabytes or not data:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = data + (megabytes << 20)
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _status(key: str) -> int:
    """Bytes, of this process; 0 where the system does not tell (it is not Linux)."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return int(value.split()[0]) << 10
    return 0


class Guard(threading.Thread):
    """Watches while it is entered."""

    def __init__(self, sockets: Sockets, loop_due_at: Callable[[], float]) -> None:
        """`loop_due_at`: when the loop should turn next at the latest (monotonic)."""
        super().__init__(name="guard", daemon=True)
        self._watches = sockets.watches
        self._backlog = Backlog(sockets.channel_of, lambda channel, fd: self._watches[channel].heard_of(fd))
        self._loop_due_at = loop_due_at
        self._ended = threading.Event()
        self._calm = self._last = 0
        self._troubled = False
        self._grew_at = self._looked_at = 0.0

    def run(self) -> None:
        """Look until told to end."""
        try:
            memory = os.open("/proc/self/statm", os.O_RDONLY)
        except OSError:
            return  # no such thing here: nothing to go by
        try:
            self._calm = self._last = _resident(memory)
            self._looked_at = time.monotonic()
            while not self._ended.wait(self._interval()):
                self._look(_resident(memory), time.monotonic())
        finally:
            os.close(memory)

    def _interval(self) -> float:
        if not self._troubled:
            return INTERVAL_S
        return TROUBLED_INTERVAL_S if self._looked_at - self._grew_at < GROWS_S else INTERVAL_S / 2

    def _look(self, resident: int, now: float) -> None:
        self._calm = min(resident, self._calm + int(RISE * min(1.0, now - self._looked_at)))
        if resident > self._last + _PAGE * 64:
            self._grew_at = now
        stopped = now - self._looked_at > LATE_S  # this process, and with it the loop
        self._last, self._looked_at = resident, now
        late = not stopped and now - self._loop_due_at() > LATE_S
        large = resident > max(NEVER_MUCH, self._calm + MARGIN)
        if not late and not large:
            if self._troubled:
                self._over(resident)
            return
        self._troubled = True
        if large:
            self._watches[Channel.BACK_OUTPUT].suspect(now)
        for unfinished in self._backlog.look(now):
            log.warning("%s: ending the connection from %s", unfinished.channel.value, unfinished.peer.name)
            self._watches[unfinished.channel].end(unfinished)
            self._grew_at = now
        if not late and now - self._grew_at > CALM_S:
            self._over(resident)

    def _over(self, resident: int) -> None:
        """Nothing grows any more: give back what is free, and take the rest for needed."""
        self._troubled = False
        self._backlog.forget()
        _give_back()
        self._calm = resident

    def __enter__(self) -> Guard:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def _resident(memory: int) -> int:
    return int(os.pread(memory, 128, 0).split()[1]) * _PAGE


def _give_back() -> None:
    """Have the allocator return what is free to the system: after a flood it would keep it (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
