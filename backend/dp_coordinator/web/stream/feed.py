"""What the stream says, made once for all, WebSocket frame and all; and what of it a viewer is to be sent next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cached_property, partial
from itertools import islice

import msgspec

from dp_coordinator import __version__
from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import PROTOCOL, EventMessage, GapMessage, Hello, SnapshotMessage
from dp_coordinator.web import views
from dp_coordinator.web.alarms import AlarmBoard
from dp_coordinator.web.stream.changes import change
from dp_coordinator.web.stream.frames import Frames
from dp_coordinator.web.stream.viewer import Viewer

EVENTS_A_FRAME = 256
EVENT_BYTES_A_FRAME = 65_536
"""And the event that exceeds it."""
encode = msgspec.json.Encoder(enc_hook=repr).encode
"""One message's text."""


class Told:
    """A snapshot in its forms, each of which is made when the first viewer needs it."""

    def __init__(self, message: SnapshotMessage, before: SnapshotMessage | None) -> None:
        self.message = message
        self._before = before

    @cached_property
    def whole(self) -> Frames:
        """All of it."""
        return Frames(encode(self.message))

    @cached_property
    def changed(self) -> Frames:
        """What it changes in the one before it, where that says it."""
        made = None if self._before is None else change(self.message, self._before)
        return self.whole if made is None else Frames(encode(made))


class Feed:
    """The newest snapshot, and the events that are held, as frames. Most viewers are sent the same ones."""

    def __init__(self, mailbox: Mailbox, clock: views.WallClock, alarms: AlarmBoard) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._alarms = alarms
        self._newest: Told | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all events: their numbers begin again."""
        self._events: deque[bytes] = deque()
        self._batch: tuple[int, int, int, Frames] = (0, 0, 0, Frames(b""))
        """The newest frame of events that was made: its first event, the newest one then, its last event."""
        self.last_seq = 0

    def take_events(self) -> None:
        """Encode what is new in the event log."""
        entries = self._mailbox.log.since(self.last_seq)
        if entries and entries[0].seq != self.last_seq + 1:
            self._events.clear()  # a flood went past us: what is held must be without gaps
        for entry in entries:
            self._events.append(encode(views.event(entry, self._clock, EventMessage)))
            self.last_seq = entry.seq
        while len(self._events) > self._mailbox.log.held:
            self._events.popleft()

    def take_snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Encode the state, with ages as of `now`."""
        before = None if self._newest is None else self._newest.message
        number = 1 if before is None else before.number + 1
        tell = partial(views.snapshot_message, number=number)
        self._newest = Told(self._told(tell, snapshot, now), before)

    def kept_state(self, snapshot: Snapshot, now: float) -> bytes:
        """The state as JSON for the past, with ages as of `now`."""
        return encode(self._told(views.state_at, snapshot, now))

    def _told(self, tell: Callable[..., views.M], snapshot: Snapshot, now: float) -> views.M:
        alarms = self._alarms.messages(now, self._clock)
        return tell(self._mailbox, snapshot, alarms, now, self._clock)

    def hello(self, since: int | None) -> Hello:
        """What a viewer is told before all else who asks for the events after `since`."""
        last = self.last_seq
        wanted = last if since is None else since if since <= last else 0
        return Hello(
            protocol=PROTOCOL,
            version=__version__,
            started_at=self._clock.of(self._mailbox.started_at),
            now=self._clock.of(self._mailbox.clock()),
            last_seq=last,
            replay_from=max(wanted, last - len(self._events)) + 1,
            recording=views.playback(self._mailbox),
        )

    def next(self, viewer: Viewer) -> bytes | None:
        """The frame this viewer is to be sent next: the newest snapshot, else the next events, else none."""
        made = self._next_snapshot(viewer) or self._next_events(viewer)
        return None if made is None else made.of(viewer.connection.deflates)

    def _next_snapshot(self, viewer: Viewer) -> Frames | None:
        newest = self._newest
        if newest is None or viewer.shown >= newest.message.number:
            return None
        follows = viewer.shown == newest.message.number - 1
        viewer.shown = newest.message.number
        return newest.changed if viewer.wants_changes and follows else newest.whole

    def _next_events(self, viewer: Viewer) -> Frames | None:
        behind = self.last_seq - viewer.seen
        if behind <= 0:
            return None
        lost = behind - len(self._events)
        if lost > 0:
            first = viewer.seen + 1
            viewer.seen += lost
            return Frames(encode(GapMessage(first, viewer.seen)))
        viewer.seen, made = self._events_frame(viewer.seen + 1)
        return made

    def _events_frame(self, first: int) -> tuple[int, Frames]:
        """The last of the events from `first` on that go into one frame, and it: sending costs by the frame."""
        if self._batch[:2] != (first, self.last_seq):
            start = first - self.last_seq - 1 + len(self._events)
            texts, size = list[bytes](), 0
            for text in islice(self._events, start, start + EVENTS_A_FRAME):
                texts.append(text)
                size += len(text)
                if size >= EVENT_BYTES_A_FRAME:
                    break
            made = Frames(texts[0] if len(texts) == 1 else b"[" + b",".join(texts) + b"]")
            self._batch = first, self.last_seq, first + len(texts) - 1, made
        return self._batch[2:]
