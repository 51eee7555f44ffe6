"""Takes down what entered the core, on the loop's own thread: everything that costs more is left to the writer."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeAlias

import msgspec

from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.core.effects import Effect
from dp_coordinator.observer import Given
from dp_coordinator.recorder import entries
from dp_coordinator.recorder.entries import CheckpointBody, Input, RecordedInput, Reports, Tick

HAND_OVER_BYTES = 256 * 1024
HAND_OVER_S = 1.0
"""At most this long, and a turn of the loop, a record waits for the others of its chunk."""
BACKLOG = 64
"""Batches that may wait for the writer. Beyond it records are dropped, and the recording has a gap."""


@dataclass(frozen=True, slots=True)
class QueuedInputs:
    """Records in order, encoded."""

    index: int
    records: list[bytes]


class RecorderRequests:
    """What other threads ask of the recorder, which looks between two turns of the loop."""

    def __init__(self) -> None:
        self.checkpoint = False
        """The writer's."""
        self.flush: Future[None] | None = None
        """The web thread's."""

    def caught_up(self) -> Future[None]:
        """Done once the writer has all that was recorded by now. Only one thread may ask."""
        asked = self.flush
        if asked is None:
            asked = self.flush = Future()
        return asked


Queue: TypeAlias = "SimpleQueue[QueuedInputs | CheckpointBody | Future[None] | None]"
"""A future is done once all before it has been put away; None is the end."""


class InputRecorder:
    """An `Observer`: each input of the core is taken down with what came out."""

    def __init__(self, core: Coordinator, queue: Queue, requests: RecorderRequests, now: float) -> None:
        """`now`: the loop's clock. The recording begins with the state as it is now."""
        self._core = core
        self._queue = queue
        self._requests = requests
        self._records: list[bytes] = []
        self._size = 0
        self._index = 0
        self._began = now
        self._lost = False
        self._flushing: Future[None] | None = None
        self._put_checkpoint(now)

    # -- what the core took ----------------------------------------------------------------------------------------

    def took(self, given: Given, effects: Sequence[Effect], now: float) -> None:
        """`Observer.took`."""
        self._add(_record(given, now, entries.encode_effects(effects)))

    def raised(self, given: Given, error: Exception, now: float) -> None:
        """`Observer.raised`: what is run again must raise the same."""
        self._add(_record(given, now, entries.defect(error)))

    def _add(self, record: RecordedInput) -> None:
        encoded = entries.encode(record)
        self._records.append(encoded)
        self._size += len(encoded)

    # -- between turns ---------------------------------------------------------------------------------------------

    def turned(self, now: float) -> float:
        """`Observer.turned`: hand over what there is, now and then and when somebody asks."""
        if self._size >= HAND_OVER_BYTES or now - self._began >= HAND_OVER_S:
            self._hand_over(now)
        if self._requests.checkpoint:
            self._hand_over(now)
            self._requests.checkpoint = False
            self._put_checkpoint(now)
        asked = self._requests.flush
        if asked is not None and (self._flushing is None or self._flushing.done()):  # however many ask: one at a time
            self._flushing, self._requests.flush = asked, None
            self._hand_over(now)
            self._queue.put(asked)
        return math.inf  # the loop turns often enough by itself

    def close(self) -> None:
        """Hand over what is left, and tell the writer that this was all."""
        self._hand_over(self._began)
        self._queue.put(None)

    def _hand_over(self, now: float) -> None:
        records, index = self._records, self._index
        self._records, self._size, self._began = [], 0, now
        self._index += len(records)
        if self._lost and self._queue.qsize() == 0:
            self._lost = False
            self._put_checkpoint(now)  # after a gap only a new state makes sense of what follows
        elif self._lost or self._queue.qsize() >= BACKLOG:
            self._lost = True
        else:
            self._queue.put(QueuedInputs(index, records))  # one without records too: there may be news in the event log

    def _put_checkpoint(self, now: float) -> None:
        self._queue.put(CheckpointBody(self._index, now, time.time(), self._core.checkpoint()))


def _record(given: Given, at: float, out: bytes) -> RecordedInput:
    if isinstance(given, list):
        return Reports(at, entries.rows(given), msgspec.Raw(out))
    if given is None:
        return Tick(at, msgspec.Raw(out))
    return Input(at, type(given).__name__, given, msgspec.Raw(out))
