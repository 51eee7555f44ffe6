"""Which ranks have far more requests than the others, and for how long: over running time, across pauses.

Far above: twice the mean of the others and 8 more; until below one and a half times and 4 more. Before it is told, a
queue that drains is given its time: after a burst that is all that is left to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FAR_MORE = 8
"""Requests that a rank must have beyond twice the mean of the others."""
DRAINS = 0.8
"""A load that fell below this share of what it was drains."""
FRESH_LOAD = 10.0
"""Seconds; counts older than this are not compared: their rank may be gone."""


@dataclass(slots=True)
class _Tally:
    """For how long a rank has had far more requests than the others, over the time in which there were requests."""

    began: float = 0.0
    load: int = 0
    """At `mark`."""
    mark: float | None = None
    """When it began this time; None while it is not so."""
    high_at: float = 0.0
    """When it last had as many as at `mark`: what came after that may be a queue that drains."""
    steady: float = 0.0
    """Seconds before `mark`, since it became so last: they count once that is over, for until then it drains."""
    counted: float = 0.0
    """Seconds of the times before, with pauses between."""

    def lasts(self, now: float) -> float:
        """Seconds in all."""
        return self.counted + (0.0 if self.mark is None else now - self.mark)

    def restart(self, now: float | None, load: int = 0) -> None:
        """Begin again at `now`, or stop with None."""
        if self.mark is not None:
            self.steady += self.high_at - self.mark
        if now is None:
            self.counted, self.steady = self.counted + self.steady, 0.0
        elif not self.counted:
            self.began = now
        self.mark, self.load, self.high_at = now, load, now or 0.0


class Imbalance:
    """Keeps the tallies between looks."""

    def __init__(self, lasting: float) -> None:
        """`lasting`: seconds after which it is told."""
        self._lasting = lasting
        self._tallies: dict[int, _Tally] = {}
        self._looked_at = 0.0

    def look(
        self, loads: Sequence[int], reported_at: Sequence[float | None], now: float, *, deaf: bool
    ) -> dict[int, float]:
        """Ranks of which it has lasted, and since when; `deaf`: counts may be old, for nobody listened."""
        heavy = self._heavy(loads, reported_at, now)
        self._ease([rank for rank in self._tallies if rank not in heavy], now - self._looked_at if any(loads) else 0.0)
        self._looked_at = now
        lasting = {}
        for rank, load in heavy.items():
            tally = self._tallies.setdefault(rank, _Tally())
            self._count(tally, load, now, deaf=deaf)
            if tally.lasts(now) >= self._lasting:
                lasting[rank] = tally.began
        return lasting

    def _count(self, tally: _Tally, load: int, now: float, *, deaf: bool) -> None:
        if deaf:
            tally.mark = None
        drains = load < DRAINS * tally.load and tally.lasts(now) < self._lasting
        if tally.mark is None or drains:
            tally.restart(now, load)
        elif load >= tally.load:
            tally.high_at = now

    def _ease(self, ranks: Sequence[int], seconds: float) -> None:
        """A pause says nothing. Requests that are spread do, for as long as they are."""
        for rank in ranks:
            tally = self._tallies[rank]
            tally.restart(None)
            tally.counted = min(tally.counted, self._lasting) - seconds
            if tally.counted <= 0.0:
                del self._tallies[rank]

    def _heavy(self, loads: Sequence[int], reported_at: Sequence[float | None], now: float) -> dict[int, int]:
        """Ranks with far more requests than the others, and how many."""
        total, others, most = sum(loads), len(loads) - 1, max(loads)
        if others == 0 or most < 1.5 * (total - most) / others + FAR_MORE / 2:
            return {}
        heavy = {}
        for rank, load in enumerate(loads):
            if now - (reported_at[rank] or 0.0) > FRESH_LOAD:
                continue
            mean, tally = (total - load) / others, self._tallies.get(rank)
            already = tally is not None and tally.mark is not None
            if load >= (1.5 * mean + FAR_MORE / 2 if already else 2 * mean + FAR_MORE):
                heavy[rank] = load
        return heavy
