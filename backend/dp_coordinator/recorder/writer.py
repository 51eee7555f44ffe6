"""Puts recorded batches away: packed, in memory for the download, and in files. Runs on a thread of its own."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from dp_coordinator.mailbox import EventLog
from dp_coordinator.recorder import chunks, entries
from dp_coordinator.recorder.folder import Folder, RecordingError
from dp_coordinator.recorder.inputs import Queue, QueuedCheckpoint, QueuedInputs, RecorderRequests

log = logging.getLogger("dp_coordinator")

RECENT_BYTES = 16 << 20
"""What is held for the download, packed."""
SEGMENTS = 8
"""What is held begins with a checkpoint, and goes by so many parts."""
CHECKPOINT_EVERY_S = 60.0
RETRY_EVERY_S = 3.0
"""Seconds between attempts to write again to a folder that failed."""


@dataclass(slots=True)
class _Segment:
    """A checkpoint and what followed it."""

    chunks: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.size += len(chunk)


class Writer:
    """Takes what the recorder hands over, until the end of it."""

    def __init__(
        self,
        queue: Queue,
        requests: RecorderRequests,
        header: Mapping[str, object],
        event_log: EventLog,
        folder: Folder,
        *,
        recent_bytes: int = RECENT_BYTES,
    ) -> None:
        """`header` goes into every file, for people and for whoever reads it back."""
        self._queue = queue
        self._requests = requests
        self._header = header
        self._event_log = event_log
        self._folder = folder
        self._recent_bytes = recent_bytes
        self._segments: deque[_Segment] = deque()
        self._next_index = 0
        self._last_seq = 0
        self._checkpoint_at = 0.0
        self._failed_at: float | None = None

    def begin(self) -> None:
        """Write the first file's beginning. Raises `RecordingError` when that fails."""
        first = self._queue.get()
        assert isinstance(first, QueuedCheckpoint), "a recording begins with the state"
        try:
            self._folder.begin(self._hold_checkpoint(first))
        except OSError as error:
            self._folder.abandon()
            raise RecordingError(f"--record {self._folder.path} cannot be written: {error.strerror or error}") from None

    def run(self) -> None:
        """Put away what comes until there is no more, then end the file properly."""
        while (item := self._queue.get()) is not None:
            try:
                self._take(item)
            except Exception:
                log.exception("the recorder met a defect in dp-coordinator; please report it")
        if self._folder.is_open:
            self._try_to(self._folder.finish, chunks.end(continues=False))

    def recent(self) -> bytes:
        """A whole recording of the last minutes. Any thread may ask."""
        held = [tuple(segment.chunks) for segment in list(self._segments)]
        whole = b"".join(chunk for segment in held for chunk in segment)
        return chunks.beginning(self._header) + whole + chunks.end(continues=True)

    # -- what the recorder hands over ----------------------------------------------------------------------------------

    def _take(self, item: QueuedInputs | QueuedCheckpoint | Future[None]) -> None:
        match item:
            case QueuedCheckpoint():
                self._take_checkpoint(item)
            case QueuedInputs():
                self._take_inputs(item)
            case Future():
                item.set_result(None)

    def _take_inputs(self, inputs: QueuedInputs) -> None:
        news = self._event_log.since(self._last_seq)
        if not inputs.records and not news:
            return
        self._last_seq = news[-1].seq if news else self._last_seq
        self._next_index = inputs.index + len(inputs.records)
        chunk = chunks.pack(chunks.RECORDS, entries.records_body(inputs.index, inputs.records, news))
        self._hold(chunk)
        if self._folder.is_open:
            self._try_to(self._folder.write, chunk)
        self._ask_for_checkpoint()

    def _ask_for_checkpoint(self) -> None:
        now = time.monotonic()
        retry = self._failed_at is not None and now - self._failed_at >= RETRY_EVERY_S
        long = (
            self._segments[-1].size >= self._recent_bytes // SEGMENTS or now - self._checkpoint_at >= CHECKPOINT_EVERY_S
        )
        if retry or long or (self._folder.is_open and self._folder.full):
            self._requests.checkpoint = True

    def _take_checkpoint(self, checkpoint: QueuedCheckpoint) -> None:
        if checkpoint.index != self._next_index:
            lost = checkpoint.index - self._next_index
            log.warning("the recording has a gap of %d records: the machine was too busy to write them", lost)
            self._event_log.append(checkpoint.at, "recording_gap", {"records": lost})
            self._next_index = checkpoint.index
        head = self._hold_checkpoint(checkpoint)
        if self._folder.is_open and self._folder.full:
            self._try_to(self._folder.finish, chunks.end(continues=True))
        if self._folder.is_open:
            self._try_to(self._folder.write, self._segments[-1].chunks[0])
        else:
            self._try_to(self._folder.begin, head)

    # -- in memory -------------------------------------------------------------------------------------------------

    def _hold_checkpoint(self, checkpoint: QueuedCheckpoint) -> bytes:
        """Begin a segment; returns what a file that begins here begins with."""
        self._checkpoint_at = time.monotonic()
        body = entries.checkpoint_body(checkpoint.index, checkpoint.at, checkpoint.wall, checkpoint.state)
        chunk = chunks.pack(chunks.CHECKPOINT, body)
        self._segments.append(_Segment())
        self._hold(chunk)
        return chunks.beginning(self._header) + chunk

    def _hold(self, chunk: bytes) -> None:
        self._segments[-1].add(chunk)
        while len(self._segments) > 1 and sum(s.size for s in self._segments) > self._recent_bytes:
            self._segments.popleft()

    # -- on disk ---------------------------------------------------------------------------------------------------

    def _try_to(self, put: Callable[[bytes], None], data: bytes) -> None:
        """Write; when that fails say so once, and go on without until it works again."""
        try:
            put(data)
        except OSError as error:
            self._folder.abandon()
            if self._failed_at is None:
                detail = f"{self._folder.path}: {error.strerror or error}"
                log.error("the recording cannot be written, and has a gap until it can: %s", detail)
                self._event_log.append(time.monotonic(), "recording_failed", {"detail": detail})
            self._failed_at = time.monotonic()
            return
        if self._failed_at is not None:
            self._failed_at = None
            log.info("the recording is written again, to %s", self._folder.path)
            self._event_log.append(time.monotonic(), "recording_works_again", {})
