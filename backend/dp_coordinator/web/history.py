"""What the last hour was like, in bounded memory: load and phase at 10 Hz and then 1 Hz, whole states at 1 Hz."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import NamedTuple, cast

import msgspec

from dp_coordinator.core.snapshot import Phase, Snapshot
from dp_coordinator.messages import History, StateAt, StateHistory
from dp_coordinator.web.archive import Archive
from dp_coordinator.web.views import WallClock

FINE_SAMPLES = 600
COARSE_SAMPLES = 3600
LONGEST_S = 3600
_FINE_INTERVAL = 0.1
_COARSE_INTERVAL = 1.0
_LIVELIEST = (Phase.PAUSED, Phase.STARTING, Phase.RUNNING)


class _Sample(NamedTuple):
    at: float
    current_wave: int
    phase: Phase
    waiting: int | None
    running: int | None
    front_ends: int
    engines_subscribed: int


def _most(a: int | None, b: int | None) -> int | None:
    if a is None or b is None:
        return b if a is None else a
    return max(a, b)


def _merged(a: _Sample, b: _Sample) -> _Sample:
    """Two samples of one second: the later one, but with the peaks of both, so that a short wave stays visible."""
    return b._replace(
        at=a.at,
        phase=max(a.phase, b.phase, key=_LIVELIEST.index),
        waiting=_most(a.waiting, b.waiting),
        running=_most(a.running, b.running),
    )


class Recorder:
    """Takes samples, at most ten a second, and keeps the newest."""

    def __init__(self) -> None:
        self._fine: deque[_Sample] = deque(maxlen=FINE_SAMPLES)
        self._coarse: deque[_Sample] = deque(maxlen=COARSE_SAMPLES)
        self.archive = Archive()
        """The whole states."""

    def clear(self) -> None:
        """Forget all."""
        self._fine.clear()
        self._coarse.clear()
        self.archive.clear()

    def add(self, snapshot: Snapshot, now: float) -> None:
        """Record the state as it is at `now` (monotonic seconds)."""
        if self._fine and now - self._fine[-1].at < _FINE_INTERVAL / 2:
            return
        sample = _Sample(
            now,
            snapshot.current_wave,
            snapshot.phase,
            snapshot.waiting,
            snapshot.running,
            snapshot.front_ends,
            snapshot.engines_subscribed,
        )
        self._fine.append(sample)
        if self._coarse and now - self._coarse[-1].at < _COARSE_INTERVAL:
            self._coarse[-1] = _merged(self._coarse[-1], sample)
        else:
            self._coarse.append(sample)

    def window(self, seconds: float, now: float, clock: WallClock) -> History:
        """The last `seconds` as columns: coarse samples first, fine ones for as long as they are held."""
        since = now - seconds
        fine_from = self._fine[0].at if self._fine else now
        samples = [s for s in self._coarse if since <= s.at < fine_from]
        samples += [s for s in self._fine if s.at >= since]
        return History(
            at=[clock.of(s.at) for s in samples],
            current_wave=[s.current_wave for s in samples],
            phase=[s.phase for s in samples],
            waiting=[s.waiting for s in samples],
            running=[s.running for s in samples],
            front_ends=[s.front_ends for s in samples],
            engines_subscribed=[s.engines_subscribed for s in samples],
        )

    def states(self, moment: float, clock: WallClock) -> StateHistory:
        """The whole states around a moment (Unix seconds): of the chunk with the newest that is not after it."""
        chunks = self.archive.chunks()
        begins = [clock.of(chunk.at[0]) for chunk in chunks]
        number = bisect_right(begins, moment)
        at = [clock.of(at) for at in chunks[number - 1].at] if number else []
        texts = chunks[number - 1].texts() if number else b""
        return StateHistory(
            at=at,
            states=cast(list[StateAt], msgspec.Raw(b"[" + texts + b"]")),  # encoded long ago
            until=begins[number] if number < len(begins) else None,
            oldest_at=begins[0] if begins else None,
        )
