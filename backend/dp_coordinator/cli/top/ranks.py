"""The engine table's rows: ages that grow by themselves, and what they make of each rank's status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from dp_coordinator.messages import SnapshotMessage

SORTS = ("rank", "load", "last report", "kv cache")


@dataclass(frozen=True, slots=True)
class Row:
    """One rank as of now. None: never reported."""

    index: int
    waiting: int | None
    running: int | None
    kv_cache_usage: float | None
    wave: int | None
    step: int | None
    age: float | None
    """Seconds since its last report."""
    restarts: int
    status: str
    """never, fresh, STALE, or unknown while nothing is heard from the coordinator."""

    @property
    def load(self) -> int | None:
        """Requests waiting and running."""
        if self.waiting is None and self.running is None:
            return None
        return (self.waiting or 0) + (self.running or 0)


def rows(snapshot: SnapshotMessage, elapsed: float, stale_after: float, *, connected: bool) -> list[Row]:
    """Every rank, `elapsed` seconds after the snapshot arrived.

    Silence is only telling while a wave runs, and only once the wave itself has run for longer than `stale_after`: a
    paused engine has nothing to say. Without a connection nobody can say who is silent.
    """
    columns = snapshot.engines
    telling = snapshot.engines_running and snapshot.phase != "paused" and snapshot.phase_age_s + elapsed > stale_after
    made = []
    for index, restarts in enumerate(columns.restarts):
        reported = columns.age_s[index]
        age = None if reported is None else reported + elapsed
        made.append(
            Row(
                index,
                columns.waiting[index],
                columns.running[index],
                columns.kv_cache_usage[index],
                columns.current_wave[index],
                columns.step_counter[index],
                age,
                restarts,
                _status(age, stale=telling and age is not None and age > stale_after, connected=connected),
            )
        )
    return made


def _status(age: float | None, *, stale: bool, connected: bool) -> str:
    if age is None:
        return "never"
    if not connected:
        return "unknown"
    return "STALE" if stale else "fresh"


_Key: TypeAlias = Callable[[Row], float | int | None]
_KEYS: dict[str, _Key] = {
    "load": lambda row: row.load,
    "last report": lambda row: row.age,
    "kv cache": lambda row: row.kv_cache_usage,
}


def by(sort: str, unsorted: list[Row]) -> list[Row]:
    """The rows, the greatest value first; those that never reported come last, ranks in their order."""
    key = _KEYS.get(sort)
    if key is None:
        return unsorted
    known = [row for row in unsorted if key(row) is not None]
    return sorted(known, key=lambda row: -(key(row) or 0)) + [row for row in unsorted if key(row) is None]
