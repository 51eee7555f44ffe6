"""Takes down what enters the core, on the loop's own thread: everything that costs more is left to the writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeAlias

from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.core.effects import Effect
from dp_coordinator.core.events import EngineStatsReported, Event
from dp_coordinator.core.state import CoreState
from dp_coordinator.recorder import entries

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


@dataclass(frozen=True, slots=True)
class QueuedCheckpoint:
    """The core's state between two records."""

    index: int
    at: float
    wall: float
    state: CoreState


class RecorderRequests:
    """What other threads ask of the tape, which looks between two turns of the loop."""

    def __init__(self) -> None:
        self.checkpoint = False
        """The writer's."""
        self.flush: Future[None] | None = None
        """The web thread's."""

    def caught_up(self) -> Future[None]:
        """Done once the writer has all that was recorded by now. Only one thread may ask."""
        wish = self.flush
        if wish is None:
            wish = self.flush = Future()
        return wish


Queue: TypeAlias = "SimpleQueue[QueuedInputs | QueuedCheckpoint | Future[None] | None]"
"""A future is done once all before it has been put away; None is the end."""


class InputRecorder:
    """The core's inputs as the loop calls them; each goes on to the core, and is taken down with what came out."""

    def __init__(self, core: Coordinator, queue: Queue, wishes: RecorderRequests, now: float) -> None:
        """`now`: the loop's clock. The recording begins with the state as it is now."""
        self._core = core
        self._queue = queue
        self._wishes = wishes
        self._records: list[bytes] = []
        self._size = 0
        self._index = 0
        self._began = now
        self._lost = False
        self._flushing: Future[None] | None = None
        self._put_moment(now)

    # -- the core's inputs -----------------------------------------------------------------------------------------

    def handle_reports(self, reports: Sequence[EngineStatsReported], now: float) -> Sequence[Effect]:
        """`Coordinator.handle_reports`."""
        return self._take_down(
            lambda: self._core.handle_reports(reports, now), lambda out: entries.reports(reports, now, out)
        )

    def handle(self, event: Event, now: float) -> Sequence[Effect]:
        """`Coordinator.handle`."""
        return self._take_down(lambda: self._core.handle(event, now), lambda out: entries.event(event, now, out))

    def tick(self, now: float) -> Sequence[Effect]:
        """`Coordinator.tick`."""
        return self._take_down(lambda: self._core.tick(now), lambda out: entries.tick(now, out))

    def _take_down(self, put: Callable[[], Sequence[Effect]], record: Callable[[bytes], bytes]) -> Sequence[Effect]:
        """Put an input to the core, and make a record of it with what came out, be it a defect."""
        try:
            effects = put()
        except Exception as error:
            self._add(record(entries.defect(error)))
            raise
        self._add(record(entries.encode_effects(effects)))
        return effects

    def _add(self, record: bytes) -> None:
        self._records.append(record)
        self._size += len(record)

    # -- between turns ---------------------------------------------------------------------------------------------

    def turned(self, now: float) -> None:
        """The loop has done a turn: everything it made of its input is done."""
        if self._size >= HAND_OVER_BYTES or now - self._began >= HAND_OVER_S:
            self._hand_over(now)
        if self._wishes.checkpoint:
            self._hand_over(now)
            self._wishes.checkpoint = False
            self._put_moment(now)
        wish = self._wishes.flush
        if wish is not None and (self._flushing is None or self._flushing.done()):  # however many ask: one at a time
            self._flushing, self._wishes.flush = wish, None
            self._hand_over(now)
            self._queue.put(wish)

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
            self._put_moment(now)  # after a gap only a new state makes sense of what follows
        elif self._lost or self._queue.qsize() >= BACKLOG:
            self._lost = True
        else:
            self._queue.put(QueuedInputs(index, records))  # one without records too: there may be news in the event log

    def _put_moment(self, now: float) -> None:
        self._queue.put(QueuedCheckpoint(self._index, now, time.time(), self._core.checkpoint()))
