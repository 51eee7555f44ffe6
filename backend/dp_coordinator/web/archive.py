"""Whole states of the last hour, one a second, in bounded memory: what every rank had reported, and what was beside it.

A state is kept as the JSON text that it is served as. Up to sixty of them, one after another, are one zlib stream, in
which what stays the same costs next to nothing: 64 busy ranks take 1.3 MB an hour and 90 µs of CPU a second, 1,024 take
25 MB and 1.3 ms. To answer is to decompress.
"""

from __future__ import annotations

import zlib
from array import array
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

KEEP_S = 3600.0
INTERVAL_S = 1.0
CHUNK_STATES = 60
CHUNK_RANKS = 65_536
"""States times ranks of a chunk: an answer has two to three megabytes at most, however many ranks there are."""
BYTES_AT_MOST = 24 * 2**20
"""What the chunks may take together; beyond that the oldest go before their hour is over."""


class Chunk(NamedTuple):
    """States that are compressed, and served, together."""

    at: Sequence[float]
    """When each was taken, in monotonic seconds."""
    packed: bytes

    def texts(self) -> bytes:
        """The states as they stand in a JSON array: with commas between them."""
        return zlib.decompress(self.packed)


class Archive:
    """Takes a state a second, and forgets those that are older than an hour or too many."""

    def __init__(self, bytes_at_most: int = BYTES_AT_MOST) -> None:
        self._bytes_at_most = bytes_at_most
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._sealed: deque[Chunk] = deque()
        self._begin()

    def _begin(self) -> None:
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
        last = self._at or (self._sealed[-1].at if self._sealed else None)
        return not last or now - last[-1] >= INTERVAL_S

    def add(self, text: bytes, ranks: int, now: float) -> None:
        """Keep a state of so many ranks, as JSON, as that of `now`; times must not go back."""
        if len(self._at) == CHUNK_STATES or (self._at and self._ranks + ranks > CHUNK_RANKS):
            self._sealed.append(self._newest())
            self._begin()
        self._packed += self._stream.compress(b"," + text if self._at else text)
        self._at.append(now)
        self._ranks += ranks
        while self._sealed and (self._sealed[0].at[-1] < now - KEEP_S or self.size > self._bytes_at_most):
            self._sealed.popleft()

    def chunks(self) -> list[Chunk]:
        """All that is held, oldest first; the last one may still grow."""
        return [*self._sealed, self._newest()] if self._at else []

    def _newest(self) -> Chunk:
        return Chunk(self._at, self._packed + self._stream.copy().flush())
