"""A core that is recorded without a loop: frames are made events of as the loop does it, time is made up."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.events import EngineStatsReported, Event
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import Endpoints
from dp_coordinator.observer import Books, Host
from dp_coordinator.recorder.chunks import CHECKPOINT, HEADER, RECORDS, Chunk, beginning, end, pack, read
from dp_coordinator.recorder.folder import Folder
from dp_coordinator.recorder.reader import Source
from dp_coordinator.recorder.recording import Recording
from dp_coordinator.recorder.replay import Summary, replay
from dp_coordinator.wire.coordinator import BadFrameError, front_end_event
from tests.core.connections import engine_subscribes, front_end_subscribes
from tests.wire.outputs import engine_events


class RecordedCore:
    """Use as a context: afterwards everything is written."""

    def __init__(
        self, folder: Path, engine_count: int = 2, dialect: str = "0.28", *, max_bytes: int = 8 << 20, **options: Any
    ) -> None:
        self.core = Coordinator(engine_count, Dialect.for_version(dialect), now=0.0, **options)
        mailbox = Mailbox(self.core.snapshot(0.0), Endpoints("", "", ""), min_stats_update_interval=0.1)
        self.log = mailbox.log
        self.folder = Folder(str(folder), max_bytes)
        self.recording = Recording(self.core, self.log, self.folder, {"about": "a test"}, now=0.0)
        self.recording.begin()
        self._host = Host(self.core, [Books(self.core, mailbox, 0.0), self.recording.recorder])
        self._thread = threading.Thread(target=self.recording.run)
        self.now = 0.0

    def __enter__(self) -> RecordedCore:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.recording.recorder.close()
        self._thread.join()
        self.folder.close()

    def ready(self) -> None:
        """All engines and a front-end."""
        for _ in range(self.core.engine_count):
            self.feed(engine_subscribes())
        self.feed(front_end_subscribes())

    def feed(self, *events: Event) -> None:
        """Events of one turn; reports among them are taken at once."""
        reports = [event for event in events if isinstance(event, EngineStatsReported)]
        if reports:
            self._host.take(reports, self.now)
        for event in events:
            if not isinstance(event, EngineStatsReported):
                self._host.take(event, self.now)
        self.turn()

    def engines_say(self, frame: bytes) -> None:
        try:
            self.feed(*engine_events(frame))
        except BadFrameError:
            self.turn()

    def front_end_says(self, frame: bytes) -> None:
        try:
            self.feed(front_end_event(frame, self.core.engine_count))
        except BadFrameError:
            self.turn()

    def turn(self, later: float = 0.01) -> None:
        self.now += later
        self._host.turned(self.now)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dprec"))


def replayed(*paths: Path) -> Summary:
    return replay([Source(str(path)) for path in paths])


def whole(summary: Summary) -> bool:
    """Everything was replayed, to the end mark, and nothing differed."""
    return summary.difference is None and all(ending.problem is None for ending in summary.endings)


def changed(path: Path, target: Path, change: Any) -> Path:
    """A copy in which `change` was done to each chunk; it gives the chunks to put there."""
    found = [chunk for old in read(path.read_bytes()) for chunk in change(old)]
    first_line = beginning({})[: beginning({}).index(b"\n") + 1]
    target.write_bytes(first_line + b"".join(pack(chunk.kind, chunk.body) for chunk in found))
    return target


__all__ = ["CHECKPOINT", "HEADER", "RECORDS", "Chunk", "RecordedCore", "changed", "end", "files", "replayed", "whole"]
