"""`WS /api/v1/stream`: the state as it changes, and every event.

Each text frame is one JSON object, or an array of them where several events are new at once; `type` says which. In
order:

1. `hello`, once: protocol number, when the coordinator started, the newest event number, and `replay_from`, the first
   event number that will follow.
2. `snapshot`, at once and then whenever something changed, at most ten a second, and about one a second as a sign of
   life. Only the newest matters: a viewer that is slow is sent fewer, one of more than some two hundred too, and never
   an old one after a newer one.
3. `event`, one for each event-log entry, with numbers that count up without gaps. Instead of entries that are not held
   any more comes one `gap` with the first and last number lost.

`?since=N` asks for the events after number N; without it they begin with the next one. A number beyond the newest
belongs to an earlier incarnation of the coordinator and means 0. What a viewer sends is ignored; one that sends a lot
is disconnected.

The server closes with 1001 when it stops, 1008 when the login that the stream was opened with has ended (or the viewer
talks too much), 1013 when too many viewers are connected. A viewer that takes nothing for ten seconds is cut off.

Cost: each snapshot and event is encoded once, WebSocket frame and all, and the same bytes are written to every viewer,
below ASGI: the way through it takes several times as long, and the poll loop waits for the interpreter meanwhile. For
the same reason nothing goes through all viewers without a pause. A viewer is one place in the shared event log and the
number of the snapshot it was sent, so that a stalled one takes no more memory than any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import islice
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.frames import Frame, Opcode

from dp_coordinator import __version__
from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.mailbox import EVENT_LOG_SIZE, Mailbox
from dp_coordinator.messages import GapMessage, Hello
from dp_coordinator.web import views
from dp_coordinator.web.access.security import IDENTITY
from dp_coordinator.web.access.sessions import Identity
from dp_coordinator.web.alarms import AlarmBoard
from dp_coordinator.web.history import Recorder
from dp_coordinator.web.settings import WebSettings
from dp_coordinator.web.stream.connection import CONNECTION, Connection

log = logging.getLogger("dp_coordinator.web")

PROTOCOL = 1
EVENTS_A_FRAME = 256
WRITTEN_AT_ONCE = 65_536
"""Bytes, and the frame that exceeds it; a viewer that is further behind gets the rest with the next samples."""
WRITE_GROUP, WRITE_PAUSE_S = 10, 0.002
"""Viewers written to together, and how long START has the cores to itself after each such group.

Some 250 viewers are sent ten snapshots a second, 1,000 between two and three (`benchmarks/many_viewers.py`).
"""
GOING_AWAY, POLICY, SERVER_ERROR, RESTARTED, TRY_LATER = 1001, 1008, 1011, 1012, 1013
_GOODBYE_S = 1.0
_encoder = msgspec.json.Encoder(enc_hook=repr)
_COMPARED = tuple(field.name for field in fields(Snapshot) if field.name != "at")


def encode(message: object) -> bytes:
    """One message's text."""
    return _encoder.encode(message)


def frame(text: bytes) -> bytes:
    """A text as a whole WebSocket frame, ready to be written."""
    return Frame(Opcode.TEXT, text).serialize(mask=False)


def _same(a: Snapshot, b: Snapshot) -> bool:
    return a is b or all(getattr(a, name) == getattr(b, name) for name in _COMPARED)


class Viewer:
    """One WebSocket's place in the stream."""

    def __init__(self, connection: Connection, seen: int) -> None:
        self.connection = connection
        self.seen = seen
        """The newest event number that was sent."""
        self.shown = 0
        """The number of the newest snapshot that was sent."""
        self.blocked_since: float | None = None
        """Since when it has not taken what was written."""
        self.ending: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.still_allowed: Callable[[], bool] = lambda: True

    def end(self, code: int, reason: str) -> None:
        """Ask that the viewer be disconnected."""
        if not self.ending.done():
            self.ending.set_result((code, reason))


class Broadcaster:
    """Samples the mailbox, encodes once, and lets every viewer take what is new to it."""

    def __init__(self, mailbox: Mailbox, settings: WebSettings, clock: views.WallClock, recorder: Recorder) -> None:
        self._mailbox = mailbox
        self._settings = settings
        self._clock = clock
        self._recorder = recorder
        self.alarms = AlarmBoard(mailbox, settings.alarms)
        self.viewers: set[Viewer] = set()
        self.stalled = 0
        """Viewers cut off so far because they took nothing."""
        self._events: deque[bytes] = deque(maxlen=EVENT_LOG_SIZE)
        self._batch: tuple[int, int, bytes] = (0, 0, b"")
        """The newest frame of events that was made, and which it holds: most viewers are sent the same one."""
        self._last_seq = self._told_seq = 0
        self._sampled: Snapshot | None = None
        self._sent_at = float("-inf")
        self._snapshot: tuple[int, bytes] = (0, b"")
        """The newest snapshot's number, and its frame."""
        self._behind: set[Viewer] = set()
        """Those who may not have been sent all that is new."""
        self._due = asyncio.Event()
        """Somebody is behind."""
        self._stopping = False
        self._deserted = asyncio.Event()

    async def run(self, every_tick: Callable[[float], None]) -> None:
        """Sample and write until cancelled. A fault is logged, and the next sample or viewer has its turn."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sample_on(every_tick))
            tasks.create_task(self._write_on())

    # -- the sampler -----------------------------------------------------------------------------------------------

    async def _sample_on(self, every_tick: Callable[[float], None]) -> None:
        while True:
            began = time.monotonic()
            with _defects_logged("sampler"):
                self.sample(self._mailbox.clock(), began)
                every_tick(began)
            if self._behind:
                self._due.set()
            await asyncio.sleep(max(0.0, began + self._settings.sample_interval_s - time.monotonic()))

    def sample(self, now: float, began: float | None = None) -> None:
        """Record history, take up new events, and hand out a snapshot if there is news or it is time for one.

        `now` is the mailbox's clock, `began` the real one, which stands apart from it in a recording.
        """
        began = now if began is None else began
        snapshot = self._mailbox.snapshot
        self._recorder.add(snapshot, now)
        self.alarms.look(now)
        if self._recorder.archive.due(now):
            self._keep(snapshot, now)
        self._take_events()
        news = self._last_seq != self._told_seq
        changed = self._sampled is None or not _same(snapshot, self._sampled)
        if changed or news or began - self._sent_at >= self._settings.heartbeat_s:
            self._sampled, self._sent_at, self._told_seq = snapshot, began, self._last_seq
            self._hand_out(snapshot, now)
        elif self._behind:
            self._make_snapshot(snapshot, now)  # whose turn is yet to come is told ages of now

    def _keep(self, snapshot: Snapshot, now: float) -> None:
        alarms = self.alarms.messages(now, self._clock)
        state = views.shortened(views.state_at(self._mailbox, snapshot, alarms, now, self._clock))
        self._recorder.archive.add(encode(state), snapshot.engine_count, now)

    def _take_events(self) -> None:
        entries = self._mailbox.log.since(self._last_seq)
        if entries and entries[0].seq != self._last_seq + 1:
            self._events.clear()  # a flood went past us: what is held must be without gaps
        for entry in entries:
            self._events.append(encode(views.event_message(entry, self._clock)))
            self._last_seq = entry.seq

    def _hand_out(self, snapshot: Snapshot, now: float) -> None:
        if self.viewers:
            self._make_snapshot(snapshot, now)
            self._behind = self.viewers.copy()

    def _make_snapshot(self, snapshot: Snapshot, now: float) -> None:
        alarms = self.alarms.messages(now, self._clock)
        message = views.snapshot_message(self._mailbox, snapshot, alarms, now, self._clock)
        self._snapshot = self._snapshot[0] + 1, frame(encode(message))

    # -- the writer ------------------------------------------------------------------------------------------------

    async def _write_on(self) -> None:
        """Write to all who are behind, a few at a time, and to each what is newest when its turn comes."""
        while True:
            await self._due.wait()
            self._due.clear()
            turns = iter(tuple(self._behind))
            while few := tuple(islice(turns, WRITE_GROUP)):
                for viewer in few:
                    with _defects_logged("writer"):
                        self.write(viewer, time.monotonic())
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
            if now - viewer.blocked_since >= self._settings.stall_timeout_s:
                self.stalled += 1
                viewer.connection.abort()
            return
        viewer.blocked_since = None
        made = bytearray()
        while len(made) < WRITTEN_AT_ONCE and (following := self.next(viewer)) is not None:
            made += following
        if made:
            viewer.connection.write(bytes(made))  # at once: each write wakes the kernel, and a viewer

    # -- viewers ---------------------------------------------------------------------------------------------------

    def join(self, connection: Connection, since: int | None) -> tuple[Viewer, Hello]:
        """A new viewer, and what it is told first. It is written to once it is in `viewers`."""
        now = self._mailbox.clock()
        self._take_events()
        last = self._last_seq
        if since is None:
            seen = last
        else:
            seen = since if since <= last else 0
        seen = max(seen, last - len(self._events))
        viewer = Viewer(connection, seen)
        self._make_snapshot(self._mailbox.snapshot, now)
        return viewer, Hello(
            protocol=PROTOCOL,
            version=__version__,
            started_at=self._clock.of(self._mailbox.started_at),
            now=self._clock.of(now),
            last_seq=last,
            replay_from=seen + 1,
            stale_after_s=self._settings.stale_after_s,
            recording=views.playback(self._mailbox),
        )

    def next(self, viewer: Viewer) -> bytes | None:
        """The frame this viewer is to be sent next: the newest snapshot, else the next events, else none."""
        if viewer.shown < self._snapshot[0]:
            viewer.shown, made = self._snapshot
            return made
        behind = self._last_seq - viewer.seen
        if behind <= 0:
            self._behind.discard(viewer)
            return None
        lost = behind - len(self._events)
        if lost > 0:
            first = viewer.seen + 1
            viewer.seen += lost
            return frame(encode(GapMessage(first, viewer.seen)))
        first, viewer.seen = viewer.seen + 1, min(self._last_seq, viewer.seen + EVENTS_A_FRAME)
        return self._events_frame(first, viewer.seen)

    def _events_frame(self, first: int, last: int) -> bytes:
        """Events `first` to `last` as one frame: sending costs by the frame, and a wave is several events."""
        if self._batch[:2] != (first, last):
            start = first - self._last_seq - 1 + len(self._events)
            texts = list(islice(self._events, start, start + last - first + 1))
            self._batch = first, last, frame(texts[0] if len(texts) == 1 else b"[" + b",".join(texts) + b"]")
        return self._batch[2]

    @property
    def full(self) -> bool:
        """Whether no further viewer is taken."""
        return self._stopping or len(self.viewers) >= self._settings.max_viewers

    def begin_anew(self) -> None:
        """Forget everything that was sampled, and let all viewers come again: a recording has jumped."""
        self._events.clear()
        self._batch = (0, 0, b"")
        self._last_seq = self._told_seq = 0
        self._sampled, self._sent_at = None, float("-inf")
        self._recorder.clear()
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
            await asyncio.wait_for(self._deserted.wait(), _GOODBYE_S)

    # -- one connection --------------------------------------------------------------------------------------------

    async def serve(self, websocket: WebSocket, since: int | None) -> None:
        """Talk to one viewer until either side has enough."""
        try:
            await websocket.accept()
            if self.full:
                await websocket.close(TRY_LATER, "too many viewers, or stopping; try again later")
                return
        except (WebSocketDisconnect, OSError):
            return
        connection: Connection = websocket.scope[CONNECTION]
        if not connection.writable:
            await websocket.close(SERVER_ERROR, "the stream needs uvicorn as its server")
            return
        connection.bound_buffer(self._settings.send_buffer_bytes)
        viewer, hello = self.join(connection, since)
        try:
            await self._converse(websocket, viewer, encode(hello).decode())
        finally:
            self.viewers.discard(viewer)
            self._behind.discard(viewer)
            if self._stopping and not self.viewers:
                self._deserted.set()

    async def _converse(self, websocket: WebSocket, viewer: Viewer, hello: str) -> None:
        identity: Identity = websocket.scope[IDENTITY]
        if identity.how != "open":
            viewer.still_allowed = _identity_check(websocket, identity)
        try:
            await websocket.send_text(hello)  # through ASGI: the handshake is then surely over
        except (WebSocketDisconnect, OSError, RuntimeError):
            return  # it has gone; older uvicorn says so with a RuntimeError
        self.viewers.add(viewer)
        self._behind.add(viewer)
        self.write(viewer, time.monotonic())
        listen = asyncio.create_task(_listen(websocket))
        endings: set[asyncio.Future[Any]] = {listen, viewer.ending}
        try:
            await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(listen)
        await self._part(websocket, viewer)

    async def _part(self, websocket: WebSocket, viewer: Viewer) -> None:
        if not viewer.ending.done():
            return
        code, reason = viewer.ending.result()
        try:
            async with asyncio.timeout(_GOODBYE_S / 2):
                await websocket.close(code, reason)
        except (TimeoutError, OSError, RuntimeError, WebSocketDisconnect):
            websocket.scope[CONNECTION].abort()  # it takes nothing, not even a goodbye


@contextlib.contextmanager
def _defects_logged(where: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception("the %s met a defect in dp-coordinator; please report it", where)


def _identity_check(websocket: WebSocket, identity: Identity) -> Callable[[], bool]:
    sessions = websocket.app.state.sessions
    return lambda: bool(sessions.still(identity))


async def _listen(websocket: WebSocket) -> None:
    """Read until the viewer goes. What it says does not matter; how much does, and the server looks after that."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            log.error("a viewer's connection met a defect in dp-coordinator; please report it", exc_info=result)
