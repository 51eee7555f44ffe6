"""The last hour, in bounded memory: totals and phase 10 times a second and then once, whole states once a second.

A whole state is what every rank had reported, and what was beside it. It is kept as the JSON text that it is served as.
Up to sixty of them, one after another, are one zlib stream, in which what stays the same costs next to nothing: 64 busy
ranks take 1.3 MB an hour and 90 µs of CPU a second, 1,024 take 25 MB and 1.3 ms. To answer is to decompress.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import msgspec

from dp_coordinator.core.snapshot import Phase, Snapshot
from dp_coordinator.messages import History, StateAt, StateHistory
from dp_coordinator.web.views import WallClock

FINE_SAMPLES = 600
COARSE_SAMPLES = 3600
LONGEST_S = 3600
_FINE_INTERVAL = 0.1
_COARSE_INTERVAL = 1.0
_LIVELIEST = (Phase.PAUSED, Phase.STARTING, Phase.RUNNING)

CHUNK_STATES = 60
CHUNK_RANKS = 65_536
"""States times ranks of a chunk: an answer has two to three megabytes at most, however many ranks there are."""
BYTES_AT_MOST = 24 * 2**20
"""What the chunks may take together; beyond that the oldest go before their hour is over."""


class _Sample(NamedTuple):
    at: float
    current_wave: int
    phase: Phase
    waiting: int | None
    running: int | None
    front_ends: int
    engines_subscribed: int


def _load(value: int | None) -> int:
    return -1 if value is None else value  # never reported is less than nothing


class Past:
    """Takes the state ten times a second, and keeps the newest hour."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._fine: deque[_Sample] = deque(maxlen=FINE_SAMPLES)
        self._coarse: deque[_Sample] = deque(maxlen=COARSE_SAMPLES)
        self._states = StateStore()

    def add(self, snapshot: Snapshot, now: float, whole: Callable[[], bytes]) -> None:
        """Keep the state as it is at `now` (monotonic seconds); `whole` is asked for its JSON once a second."""
        if not self._fine or now - self._fine[-1].at >= _FINE_INTERVAL / 2:
            if len(self._fine) == FINE_SAMPLES:
                self._fold(self._fine.popleft())
            self._fine.append(_Sample(now, *(getattr(snapshot, name) for name in _Sample._fields[1:])))
        if self._states.due(now):
            self._states.add(whole(), snapshot.engine_count, now)

    def _fold(self, sample: _Sample) -> None:
        """All samples of a second become the last, but with the peaks of all, so that a short wave stays visible."""
        if self._coarse and sample.at - self._coarse[-1].at < _COARSE_INTERVAL:
            first = self._coarse.pop()
            sample = sample._replace(
                at=first.at,
                phase=max(first.phase, sample.phase, key=_LIVELIEST.index),
                waiting=max(first.waiting, sample.waiting, key=_load),
                running=max(first.running, sample.running, key=_load),
            )
        self._coarse.append(sample)

    def totals(self, seconds: float, now: float, clock: WallClock) -> History:
        """The last `seconds` as columns, oldest first."""
        samples = [s for s in (*self._coarse, *self._fine) if s.at >= now - seconds]
        columns = {name: [getattr(s, name) for s in samples] for name in _Sample._fields}
        columns["at"] = [clock.of(at) for at in columns["at"]]
        return History(**columns)

    def states(self, moment: float, clock: WallClock) -> StateHistory:
        """The whole states around a moment (Unix seconds): of the chunk with the newest that is not after it."""
        chunks = self._states.chunks()
        begins = [clock.of(chunk.at[0]) for chunk in chunks]
        number = bisect_right(begins, moment)
        chunk = chunks[number - 1] if number else Chunk((), zlib.compress(b""))
        return StateHistory(
            at=[clock.of(at) for at in chunk.at],
            states=cast(list[StateAt], msgspec.Raw(b"[" + zlib.decompress(chunk.packed) + b"]")),  # encoded long ago
            until=begins[number] if number < len(begins) else None,
            oldest_at=begins[0] if begins else None,
        )


class Chunk(NamedTuple):
    """States that are compressed, and served, together."""

    at: Sequence[float]
    """When each was taken, in monotonic seconds."""
    packed: bytes
    """The states as they stand in a JSON array, with commas between them; compressed."""


class StateStore:
    """Takes a whole state a second, and forgets those that are older than an hour or too many."""

    def __init__(self, bytes_at_most: int = BYTES_AT_MOST) -> None:
        self._bytes_at_most = bytes_at_most
        self._sealed: deque[Chunk] = deque()
        self._begin_chunk()

    def _begin_chunk(self) -> None:
        self._at = array("d")
        self._ranks = 0
        self._packed = b""
        self._stream = zlib.compressobj(1)

    @property
    def size(self) -> int:
        """Bytes that all chunks take."""
        return len(self._packed) + sum(len(chunk.packed) for chunk in self._sealed)

    def due(self, now: float) -> bool:
        """Whether it is time for the next state."""
        return not self._at or now - self._at[-1] >= _COARSE_INTERVAL

    def add(self, text: bytes, ranks: int, now: float) -> None:
        """Keep a state of so many ranks, as JSON, as that of `now`; times must not go back."""
        if len(self._at) == CHUNK_STATES or (self._at and self._ranks + ranks > CHUNK_RANKS):
            self._sealed.append(self._newest())
            self._begin_chunk()
        self._packed += self._stream.compress(b"," + text if self._at else text)
        self._at.append(now)
        self._ranks += ranks
        while self._sealed and (self._sealed[0].at[-1] < now - LONGEST_S or self.size > self._bytes_at_most):
            self._sealed.popleft()

    def chunks(self) -> list[Chunk]:
        """All that is held, oldest first; the last one may still grow."""
        return [*self._sealed, self._newest()] if self._at else []

    def _newest(self) -> Chunk:
        return Chunk(self._at, self._packed + self._stream.copy().flush())
