"""What a snapshot changes in the one before it: of a thousand busy ranks a third of the bytes."""

from __future__ import annotations

from collections.abc import Sequence

from dp_coordinator.messages import EngineColumnsMessage, SnapshotChange, SnapshotMessage

_FIELDS = tuple(name for name in SnapshotMessage.__struct_fields__ if name not in ("number", "engines"))
_WHOLE = ("status", "provenance")
"""No columns: a word for most ranks, and the others."""
_COLUMNS = tuple(name for name in EngineColumnsMessage.__struct_fields__ if name not in _WHOLE)
_DIGITS = 3
"""Decimal places that no column has more of: a difference is as exact."""
Column = Sequence[float | None]


def change(new: SnapshotMessage, old: SnapshotMessage) -> SnapshotChange | None:
    """What makes `new` of `old`; None when the ranks are not as many, so that a whole snapshot says it better."""
    if len(new.engines.restarts) != len(old.engines.restarts):
        return None
    fields = {name: value for name in _FIELDS if (value := getattr(new, name)) != getattr(old, name)}
    columns: dict[str, object] = {}
    for name in _COLUMNS:
        now, before = getattr(new.engines, name), getattr(old.engines, name)
        if now != before:
            columns[name] = differences(now, before)
    for name in _WHOLE:
        if getattr(new.engines, name) != getattr(old.engines, name):
            columns[name] = getattr(new.engines, name)
    return SnapshotChange(new.number, old.number, fields, columns)


def differences(new: Column, old: Column) -> list[float | None]:
    """What to add to each value; null where it is null now."""
    return [
        None if value is None else round(value - (before or 0), _DIGITS) for value, before in zip(new, old, strict=True)
    ]
