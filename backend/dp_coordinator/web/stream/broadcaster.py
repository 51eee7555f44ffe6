"""Samples the state, and writes what is new to every viewer.

Cost: each snapshot and event is encoded and compressed once, WebSocket frame and all, and the same bytes are written to
every viewer, below ASGI: the way through it takes several times as long, and the poll loop waits for the interpreter
meanwhile. For the same reason nothing goes through all viewers without a pause. A viewer is one place in the shared
event log and the number of the snapshot it was sent, so that a stalled one takes no more memory than any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import Hello
from dp_coordinator.web.alarms import AlarmBoard
from dp_coordinator.web.past import Past
from dp_coordinator.web.settings import WebSettings
from dp_coordinator.web.stream.connection import Connection
from dp_coordinator.web.stream.feed import Feed
from dp_coordinator.web.stream.viewer import GOING_AWAY, POLICY, RESTARTED, Viewer
from dp_coordinator.web.views import WallClock

log = logging.getLogger("dp_coordinator.web")

WRITTEN_AT_ONCE = 65_536
"""Bytes, and the frame that exceeds it; a viewer that is further behind gets the rest with the next samples."""
WRITE_GROUP, WRITE_PAUSE_S = 10, 0.002
"""Viewers written to together, and how long START has the cores to itself after each such group.

Some 250 viewers are sent ten snapshots a second, 1,000 between two and three (`benchmarks/many_viewers.py`).
"""
GOODBYE_S = 1.0


class Broadcaster:
    """Samples the mailbox, and lets every viewer take what is new to it."""

    def __init__(self, mailbox: Mailbox, settings: WebSettings, clock: WallClock, past: Past) -> None:
        self.settings = settings
        self._mailbox = mailbox
        self._past = past
        self.alarms = AlarmBoard(mailbox, settings)
        self.feed = Feed(mailbox, clock, self.alarms)
        self.viewers: set[Viewer] = set()
        self.stalled = 0
        """Viewers cut off so far because they took nothing."""
        self._told_seq = 0
        self._sampled: Snapshot | None = None
        self._sent_at = 0.0
        self._behind: set[Viewer] = set()
        """Those who may not have been sent all that is new."""
        self._due = asyncio.Event()
        """Somebody is behind."""
        self._stopping = False
        self._deserted = asyncio.Event()

    async def run(self, *every_tick: Callable[[float], None]) -> None:
        """Sample and write until cancelled. A fault is logged, and the next sample or viewer has its turn."""
        await asyncio.gather(self._sample_on(every_tick), self._write_on())

    # -- the sampler -----------------------------------------------------------------------------------------------

    async def _sample_on(self, every_tick: Sequence[Callable[[float], None]]) -> None:
        while True:
            began = time.monotonic()
            with defects_logged("sampler"):
                self.sample(self._mailbox.clock(), began)
                for tick in every_tick:
                    tick(began)
            if self._behind:
                self._due.set()
            await asyncio.sleep(max(0.0, began + self.settings.sample_interval_s - time.monotonic()))

    def sample(self, now: float, began: float | None = None) -> None:
        """Record history, take up new events, and hand out a snapshot if there is news or it is time for one.

        `now` is the mailbox's clock, `began` the real one, which stands apart from it in a recording.
        """
        began = now if began is None else began
        snapshot = self._mailbox.seen()
        self.alarms.look(now)
        self._past.add(snapshot, now, lambda: self.feed.kept_state(snapshot, now))
        self.feed.take_events()
        news = self.feed.last_seq != self._told_seq
        changed = self._sampled is None or replace(self._sampled, at=snapshot.at) != snapshot
        if changed or news or began - self._sent_at >= self.settings.heartbeat_s:
            self._sampled, self._sent_at, self._told_seq = snapshot, began, self.feed.last_seq
            self._behind = self.viewers.copy()
        if self._behind:  # whose turn is yet to come is told ages of now
            self.feed.take_snapshot(snapshot, now)

    # -- the writer ------------------------------------------------------------------------------------------------

    async def _write_on(self) -> None:
        """Write to all who are behind, a few at a time, and to each what is newest when its turn comes."""
        while True:
            await self._due.wait()
            self._due.clear()
            for written, viewer in enumerate(tuple(self._behind), 1):
                with defects_logged("writer"):
                    self.write(viewer, time.monotonic())
                if written % WRITE_GROUP == 0:
                    await asyncio.sleep(WRITE_PAUSE_S)

    def write(self, viewer: Viewer, now: float) -> None:
        """Write what is new to a viewer, unless it has not taken what was written before; cut it off when it stalls."""
        if viewer.ending.done():
            return
        if not viewer.still_allowed():
            viewer.end(POLICY, "the login has ended")
            return
        if viewer.connection.unsent():
            viewer.blocked_since = viewer.blocked_since or now
            if now - viewer.blocked_since >= self.settings.stall_timeout_s:
                self.stalled += 1
                viewer.connection.abort()
            return
        viewer.blocked_since = None
        made = bytearray()
        while len(made) < WRITTEN_AT_ONCE and (following := self.next(viewer)) is not None:
            made += following
        if made:
            viewer.connection.write(bytes(made))  # at once: each write wakes the kernel, and a viewer

    def next(self, viewer: Viewer) -> bytes | None:
        """The frame this viewer is to be sent next; None when it has been sent all."""
        following = self.feed.next(viewer)
        if following is None:
            self._behind.discard(viewer)
        return following

    # -- viewers ---------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether no further viewer is taken."""
        return self._stopping or len(self.viewers) >= self.settings.max_viewers

    def join(self, connection: Connection, since: int | None, wants_changes: bool = False) -> tuple[Viewer, Hello]:
        """A new viewer, and what it is told first. It is written to from `add` on.

        A snapshot is made for it, which the others miss: their next one is a whole one.
        """
        self.feed.take_events()
        self.feed.take_snapshot(self._mailbox.seen(), self._mailbox.clock())
        hello = self.feed.hello(since)
        return Viewer(connection, hello.replay_from - 1, wants_changes), hello

    def add(self, viewer: Viewer) -> None:
        """Write to a viewer now, and whenever something is new."""
        self.viewers.add(viewer)
        self._behind.add(viewer)
        self.write(viewer, time.monotonic())

    def remove(self, viewer: Viewer) -> None:
        """It has gone."""
        self.viewers.discard(viewer)
        self._behind.discard(viewer)
        if self._stopping and not self.viewers:
            self._deserted.set()

    def begin_anew(self) -> None:
        """Forget everything that was sampled, and let all viewers come again: a recording has jumped."""
        self.feed.begin_anew()
        self._sampled = None
        self._past.clear()
        self.alarms.begin_anew()
        for viewer in self.viewers:
            viewer.end(RESTARTED, "the recording was moved to another moment")

    async def stop(self) -> None:
        """Say goodbye to every viewer, and wait until they are gone, a second at most."""
        self._stopping = True
        if not self.viewers:
            return
        for viewer in self.viewers:
            viewer.end(GOING_AWAY, "the coordinator is stopping")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._deserted.wait(), GOODBYE_S)


@contextlib.contextmanager
def defects_logged(where: str) -> Iterator[None]:
    """Let no defect of ours end what goes on for all viewers."""
    try:
        yield
    except Exception:
        log.exception("the %s met a defect in dp-coordinator; please report it", where)
