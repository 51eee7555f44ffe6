"""The only state shared between the loop thread and the web thread.

The loop replaces one reference to an immutable snapshot, appends to a bounded event log and counts; the web side
samples. Commands travel the other way through an inbox and are answered through a `concurrent.futures.Future`.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, cast

from dp_coordinator.beside import beside
from dp_coordinator.core.events import ManualStartRequested
from dp_coordinator.core.snapshot import Snapshot, StartAction, StartRefusal
from dp_coordinator.messages import Endpoints, Playback
from dp_coordinator.sourced import SourcesView
from dp_coordinator.texts import shown, shown_within
from dp_coordinator.words import AlarmKind

EVENT_LOG_SIZE = 4096
EVENT_LOG_BYTES = 8 << 20
"""Of memory, for the entries together. Ours take 1 MiB when all are held."""
INBOX_SIZE = 256

Command: TypeAlias = ManualStartRequested
Reply: TypeAlias = StartAction | StartRefusal


class InboxFullError(RuntimeError):
    """More commands are waiting than the loop may hold; try again later."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the event log."""

    seq: int
    """1, 2, 3, ... without gaps."""
    at: float
    """Monotonic seconds."""
    kind: str
    fields: Mapping[str, object]


class Histogram:
    """Cumulative-style histogram in seconds; written by the loop, read by the metrics page."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value into the first bucket whose upper bound is not below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def above(self, bound: float) -> int:
        """How many values were above one of the bounds."""
        return sum(self.counts[bisect_left(self.bounds, bound) + 1 :])


@dataclass(slots=True)
class Counters:
    """What has happened since the process started. Only the loop writes."""

    frames: dict[tuple[str, str], int] = field(default_factory=dict)
    """(kind, verdict) -> frames in. Verdicts: accepted, or why it was dropped."""
    starts: dict[str, int] = field(default_factory=dict)
    """Cause -> START_DP_WAVE broadcasts."""
    loads_published: int = 0
    wave_states_published: int = 0
    wave_seconds: Histogram = field(default_factory=lambda: Histogram((0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800)))
    publication_lateness_seconds: Histogram = field(
        default_factory=lambda: Histogram((0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1))
    )

    def count_frame(self, kind: str, verdict: str, n: int = 1) -> None:
        """Count `n` frames of a kind under a verdict."""
        self.frames[kind, verdict] = self.frames.get((kind, verdict), 0) + n


class EventLog:
    """The newest entries, numbered; appended by the loop, read by anyone. Texts in them are fit to be shown."""

    def __init__(self, size: int = EVENT_LOG_SIZE, bytes_at_most: int = EVENT_LOG_BYTES) -> None:
        self._entries: deque[tuple[LogEntry, int]] = deque()
        """With about how many bytes each takes."""
        self._most, self._bytes_at_most = size, bytes_at_most
        self._bytes = 0
        self._lock = threading.Lock()
        self.last_seq = 0

    def append(self, at: float, kind: str, fields: Mapping[str, object]) -> None:
        """Add one entry with the next number; the oldest go when there are too many, or too many bytes."""
        told, size = shown_within(fields)
        with self._lock:
            self.last_seq += 1
            self._entries.append((LogEntry(self.last_seq, at, shown(kind), cast(dict[str, object], told)), size))
            self._bytes += size
            while len(self._entries) > self._most or (self._bytes > self._bytes_at_most and len(self._entries) > 1):
                self._bytes -= self._entries.popleft()[1]

    @property
    def held(self) -> int:
        """How many entries are held."""
        return len(self._entries)

    def clear(self) -> None:
        """Forget all, and number from 1 again."""
        with self._lock:
            self._entries.clear()
            self.last_seq = self._bytes = 0

    def since(self, seq: int) -> list[LogEntry]:
        """Entries numbered above `seq` that are still held, oldest first."""
        with self._lock:
            missing = min(self.last_seq - seq, len(self._entries))
            return [self._entries[i][0] for i in range(-missing, 0)]


class Inbox:
    """Commands for the loop. `wake` is called after each post, on the posting thread."""

    def __init__(self, size: int = INBOX_SIZE) -> None:
        self._waiting: deque[tuple[Command, Future[Reply]]] = deque()
        self._size = size
        self._lock = threading.RLock()
        self._wake: Callable[[], None] | None = None

    def connect(self, wake: Callable[[], None] | None) -> None:
        """Set what wakes the loop; None when the loop is gone: it is not called any more after that."""
        with self._lock:
            self._wake = wake

    def post(self, command: Command) -> Future[Reply]:
        """Hand a command to the loop. Raises `InboxFullError` rather than grow without bound."""
        reply: Future[Reply] = Future()
        with self._lock:
            if len(self._waiting) >= self._size:
                raise InboxFullError(f"{self._size} commands are waiting already; try again later")
            self._waiting.append((command, reply))
            self.wake()
        return reply

    def wake(self) -> None:
        """Have the loop turn now, if it is there."""
        with self._lock:
            if self._wake is not None:
                self._wake()

    def take(self) -> list[tuple[Command, Future[Reply]]]:
        """All commands posted so far, oldest first."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
        return taken


class Recent(Protocol):
    """What is recorded, as far as it is at hand."""

    def caught_up(self) -> Future[None]:
        """Done once all that has entered the core by now is in `recent`: soon after the loop's next turn."""

    def recent(self) -> bytes:
        """A recording of the last minutes as one file."""


class Player(Protocol):
    """What may be asked of whoever plays a recording."""

    def position(self) -> Playback:
        """Where it is."""

    def play(self, *, speed: float | None, paused: bool | None, position_s: float | None) -> None:
        """Change what is given; None leaves it as it is."""


def _wall_offset() -> float:
    return time.time() - time.monotonic()


class Mailbox:
    """What the two threads know of each other."""

    def __init__(
        self, snapshot: Snapshot, endpoints: Endpoints, *, min_stats_update_interval: float, restarts: int = 0
    ) -> None:
        self.snapshot = snapshot
        self.endpoints = endpoints
        self.min_stats_update_interval = min_stats_update_interval
        """Seconds between load publications."""
        self.restarts = restarts
        """How often this coordinator came back from a crash, or was replaced, on the same journal."""
        self.sources: SourcesView | None = None
        """What the sources told, replaced as a whole by whoever asks them on the web thread; None without any."""
        self._seen: tuple[Snapshot, SourcesView | None, Snapshot] = (snapshot, None, snapshot)
        self.troubles: Mapping[AlarmKind, tuple[float, str]] = {}
        """What the process itself knows to be wrong: kind of alarm -> since when (monotonic), and what in one line."""
        self.recording: Recent | None = None
        """None when nothing is recorded."""
        self.clock: Callable[[], float] = time.monotonic
        """The clock of all times in here; of a recording, its own."""
        self.wall_offset: Callable[[], float] = _wall_offset
        """Unix seconds less that clock's."""
        self.player: Player | None = None
        """None unless this is a recording."""
        self.log = EventLog()
        self.inbox = Inbox()
        self.counters = Counters()
        self.started_at = time.monotonic()
        self.loop_alive_at = self.started_at
        """Monotonic seconds of the loop's last turn: /livez tells a stuck loop by it."""

    def seen(self) -> Snapshot:
        """The newest snapshot with what the sources told beside it: what viewers are shown. Of the web thread."""
        snapshot, sources = self.snapshot, self.sources
        if sources is None:
            return snapshot
        if self._seen[0] is not snapshot or self._seen[1] is not sources:
            self._seen = snapshot, sources, beside(snapshot, sources)
        return self._seen[2]
