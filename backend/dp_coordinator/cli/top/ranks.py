"""The order of the engine table's rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from dp_coordinator.messages import Engine

_Key: TypeAlias = Callable[[Engine], float | int | None]


def load(row: Engine) -> int | None:
    """Requests waiting and running; None when the rank never reported."""
    return None if row.waiting is None and row.running is None else (row.waiting or 0) + (row.running or 0)


_KEYS: dict[str, _Key] = {
    "rank": lambda row: -row.index,
    "load": load,
    "last report": lambda row: row.age_s,
    "kv cache": lambda row: row.kv_cache_usage,
}
SORTS = tuple(_KEYS)


def by(sort: str, unsorted: list[Engine]) -> list[Engine]:
    """The rows, the greatest value first; those that never reported come last, ranks in their order."""
    key = _KEYS[sort]
    return sorted(unsorted, key=lambda row: (key(row) is None, -(key(row) or 0)))
