"""Watches this process's memory beside the loop, and ends connections that fill it with what the loop never sees.

On a thread of its own, because such a peer may keep the loop inside libzmq. Most of the time it reads three numbers
a hundred times a second.
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

INTERVAL_S, TROUBLED_INTERVAL_S = 0.01, 0.005
MARGIN, NEVER_MUCH = 32 << 20, 96 << 20
"""Bytes; so much more than a moment ago is trouble, unless it is less than a coordinator may need at any time."""
RISE = 4 << 20
"""Bytes a second by which it may grow."""
BUSY_S = 0.01
"""Processor time that the loop's thread takes for one step when it is in trouble: a batch takes half of it.

Time on the clock would say nothing: a loop waits for input for up to a second, and on a busy machine for a processor.
"""
RUSH, SHARE = 4 << 20, 0.2
"""Bytes since the last look at all connections after which there is another at once; else looks take this share of the
time, for they keep the loop from its work: of a thousand connections one takes 15 ms.
"""
GROWS_S = 0.25
"""From the last growth until looks need not follow each other as fast as they can."""
CALM_S = 2.0
"""From the last growth until what is held is taken for needed."""
ROUTINE_S, AGAIN_S = 10.0, 3.0
"""Between two looks at all connections that are taken whatever memory does, if it is `NEVER_MUCH`, for it may grow ever
so slowly; and from each to a second one, meanwhile the loop has emptied its sockets (backlog.py, `EMPTIED`).
"""
ENGINE_DATA = 600 << 10
"""Bytes of data that the connections of one engine more may take: two on each socket (crowd.py).

Of each libzmq sets aside 100 KB and uses a third.
"""
_PAGE = os.sysconf("SC_PAGESIZE")


def limit_memory(megabytes: int, engines: int) -> None:
    """Have the kernel refuse memory beyond so many MiB more than this process has now; 0 for no such limit.

    What the connections of so many engines take is not counted.

    It is the data that counts (RLIMIT_DATA), not addresses: threads reserve far more of those than they ever use.
    """
    data = _status("VmData")
    if not megabytes or not data:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = data + (megabytes << 20) + engines * ENGINE_DATA
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

    def __init__(self, sockets: Sockets, steps: Callable[[], int]) -> None:
        """`steps`: how often the loop has gone on to what it does next. To be made on the loop's thread."""
        super().__init__(name="guard", daemon=True)
        self._watches = sockets.watches
        self._backlog = Backlog(sockets.channel_of, lambda channel, fd: self._watches[channel].heard_of(fd))
        self._steps = steps
        self._loop = threading.get_ident()
        self._step, self._spent = -1, 0.0
        """The step that was seen last, and the processor time of the loop's thread then."""
        self._ended = threading.Event()
        self._calm = self._last = 0
        self._troubled = self._was_large = False
        self._grew_at = self._looked_at = 0.0
        self._seen, self._next = 0, 0.0
        """Memory at the last look at all connections, and when the next is due unless it grows."""
        self._routine, self._again = 0.0, False
        """When the next is due though there is no trouble, and whether it is the second of two."""

    def run(self) -> None:
        """Look until told to end."""
        try:
            memory = os.open("/proc/self/statm", os.O_RDONLY)
        except OSError:
            return  # no such thing here: nothing to go by
        processor = time.pthread_getcpuclockid(self._loop)
        try:
            self._calm = self._last = _resident(memory)
            self._looked_at = time.monotonic()
            while not self._ended.wait(self._interval()):
                self.look(_resident(memory), time.clock_gettime(processor), time.monotonic())
        finally:
            os.close(memory)

    def _interval(self) -> float:
        grows = self._looked_at - self._grew_at < GROWS_S
        return TROUBLED_INTERVAL_S if self._troubled and grows else INTERVAL_S

    def look(self, resident: int, spent: float, now: float) -> None:
        """One look: bytes of memory, seconds of processor time that the loop's thread has spent, and the time."""
        self._calm = min(resident, self._calm + int(RISE * min(1.0, now - self._looked_at)))
        if resident > self._last + _PAGE * 64:
            self._grew_at = now
        self._last, self._looked_at = resident, now
        stuck, large = self._is_stuck(spent), resident > max(NEVER_MUCH, self._calm + MARGIN)
        if not stuck and not large:
            if self._troubled:
                self._over(resident)
            elif resident > NEVER_MUCH and now >= self._routine:
                self._look_routinely(now)
            return
        if not self._troubled:
            self._troubled, self._grew_at = True, now
        self._was_large |= large
        if stuck or now >= self._next or resident > self._seen + RUSH:
            if large:
                self._watches[Channel.BACK_OUTPUT].suspect(now)
            self._end_unfinished(now)
            self._seen, self._next = resident, now + (time.monotonic() - now) / SHARE
        if not stuck and now - self._grew_at > CALM_S:
            self._over(resident)

    def _look_routinely(self, now: float) -> None:
        self._watches[Channel.BACK_OUTPUT].suspect(now)
        self._end_unfinished(now)
        self._again = not self._again
        self._routine = now + (AGAIN_S if self._again else ROUTINE_S)
        if not self._again:
            self._backlog.forget()

    def _end_unfinished(self, now: float) -> None:
        for number, unfinished in enumerate(self._backlog.look(now)):
            if not number:  # who the others are is in the event log, at a limited rate
                log.warning("%s: ending connections, first that of %s", unfinished.channel.value, unfinished.peer.name)
            self._watches[unfinished.channel].end(unfinished, now)
            self._grew_at = now

    def _is_stuck(self, spent: float) -> bool:
        """Whether the loop's thread works and works, and does not come to its next step."""
        step = self._steps()
        if step != self._step:
            self._step, self._spent = step, spent
        return spent - self._spent > BUSY_S

    def _over(self, resident: int) -> None:
        """Nothing grows any more: give back what is free, and take the rest for needed."""
        self._troubled = False
        self._backlog.forget()
        if self._was_large:
            _give_back()
            self._was_large, self._calm = False, resident

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
