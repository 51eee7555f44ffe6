"""One recording under way: what inputs.py has taken down is put away on a thread of its own, packed."""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from queue import SimpleQueue

from dp_coordinator import __version__
from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.mailbox import EventLog
from dp_coordinator.recorder import chunks, entries
from dp_coordinator.recorder.entries import CheckpointBody
from dp_coordinator.recorder.folder import Folder, RecordingError
from dp_coordinator.recorder.inputs import InputRecorder, Queue, QueuedInputs, RecorderRequests

log = logging.getLogger("dp_coordinator")

RECENT_BYTES = 16 << 20
"""What is held for the download, packed."""
SEGMENTS = 8
"""What is held begins with a checkpoint, and goes by so many parts."""
CHECKPOINT_EVERY_S = 60.0
RETRY_EVERY_S = 3.0
"""Seconds between attempts to write again to a folder that failed."""


class Recording:
    """Call `begin`, then `run` on another thread; the loop tells `recorder`; close that, and `run` returns."""

    def __init__(
        self, core: Coordinator, event_log: EventLog, folder: Folder, about: Mapping[str, object], *, now: float
    ) -> None:
        """`about`: what else a reader of the file should know of this process. Nothing secret may be in it.

        `now` is the loop's clock.
        """
        header = {
            "version": __version__,
            "run": secrets.token_hex(8),
            "dialect": core.dialect.version,
            "engine_count": core.engine_count,
            "wave_coordination": core.state.wave_coordination,
            **about,
            "began": {"wall": time.time(), "monotonic": now},
        }
        self._beginning = chunks.beginning(header)
        self._queue: Queue = SimpleQueue()
        self._requests = RecorderRequests()
        self.recorder = InputRecorder(core, self._queue, self._requests, now)
        self.caught_up = self._requests.caught_up
        self._event_log = event_log
        self._folder = folder
        self._segments: deque[list[bytes]] = deque()
        """What is held: each part a checkpoint and what followed it."""
        self._next_index = 0
        self._last_seq = 0
        self._checkpoint_at = 0.0
        self._failed_at: float | None = None

    def begin(self) -> None:
        """Write the first file's beginning. Raises `RecordingError` when that fails."""
        first = self._queue.get()
        assert isinstance(first, CheckpointBody), "a recording begins with the state"
        try:
            self._folder.begin(self._beginning + self._hold_checkpoint(first))
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
        held = [tuple(segment) for segment in list(self._segments)]
        whole = b"".join(chunk for segment in held for chunk in segment)
        return self._beginning + whole + chunks.end(continues=True)

    # -- what the tape hands over ----------------------------------------------------------------------------------

    def _take(self, item: QueuedInputs | CheckpointBody | Future[None]) -> None:
        match item:
            case CheckpointBody():
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
        if self._is_checkpoint_due(time.monotonic()):
            self._requests.checkpoint = True

    def _is_checkpoint_due(self, now: float) -> bool:
        retry = self._failed_at is not None and now - self._failed_at >= RETRY_EVERY_S
        long = _size(self._segments[-1]) >= RECENT_BYTES // SEGMENTS or now - self._checkpoint_at >= CHECKPOINT_EVERY_S
        return retry or long or (self._folder.is_open and self._folder.full)

    def _take_checkpoint(self, checkpoint: CheckpointBody) -> None:
        if checkpoint.index != self._next_index:
            lost = checkpoint.index - self._next_index
            log.warning("the recording has a gap of %d records: the machine was too busy to write them", lost)
            self._event_log.append(checkpoint.at, "recording_gap", {"records": lost})
            self._next_index = checkpoint.index
        chunk = self._hold_checkpoint(checkpoint)
        if self._folder.is_open and self._folder.full:
            self._try_to(self._folder.finish, chunks.end(continues=True))
        if self._folder.is_open:
            self._try_to(self._folder.write, chunk)
        else:
            self._try_to(self._folder.begin, self._beginning + chunk)

    # -- in memory -------------------------------------------------------------------------------------------------

    def _hold_checkpoint(self, checkpoint: CheckpointBody) -> bytes:
        """Begin a segment with it; returns its chunk."""
        self._checkpoint_at = time.monotonic()
        chunk = chunks.pack(chunks.CHECKPOINT, entries.encode(checkpoint))
        self._segments.append([])
        self._hold(chunk)
        return chunk

    def _hold(self, chunk: bytes) -> None:
        self._segments[-1].append(chunk)
        while len(self._segments) > 1 and sum(map(_size, self._segments)) > RECENT_BYTES:
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


def _size(segment: list[bytes]) -> int:
    return sum(map(len, segment))
