"""The event log: bounded, numbered, and readable: repeats are one entry, and no group of kinds pushes out another.

The loop appends, and START waits for it meanwhile; anyone reads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from dp_coordinator.sentences import EVENTS
from dp_coordinator.texts import shown, shown_within
from dp_coordinator.words import EventGroup

EVENT_LOG_SIZE = 4096
EVENT_LOG_BYTES = 8 << 20
"""Of memory, for the entries together. Ours take 1 MiB when all are held."""
FOLDED_WITHIN_S = 10.0
"""After an entry, the same again is counted there."""
JOINING = frozenset({"engine_subscribed", "engine_first_report", "front_end_subscribed"})
"""A thousand of these are one start: they are one entry, whoever it was."""
REPEATED = frozenset({"bad_frame", "manual_start_refused"})
"""These are one entry where they say the same."""
RANKS_NAMED = 64
"""Of those in one entry."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the event log."""

    seq: int
    """1, 2, 3, ...: of the newest event in it."""
    at: float
    """Monotonic seconds, of the newest event in it."""
    kind: str
    fields: Mapping[str, object]
    """Of the newest; `repeats`, where it stands for several, and `engines`, the first ranks of these."""
    first_seq: int
    """Of the first event in it; it stands for all from there on."""


class EventLog:
    """The newest entries, numbered; appended by the loop, read by anyone. Texts in them are fit to be shown."""

    def __init__(self, size: int = EVENT_LOG_SIZE, bytes_at_most: int = EVENT_LOG_BYTES) -> None:
        self._most, self._bytes_at_most = size, bytes_at_most
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all, and number from 1 again."""
        with self._lock:
            self._entries: dict[int, LogEntry] = {}
            """In order, by their numbers."""
            self._groups: dict[EventGroup, _Group] = {}
            self._newest: tuple[LogEntry, _Group] | None = None
            self._bytes = 0
            self.last_seq = 0

    def append(self, at: float, kind: str, fields: Mapping[str, object], *, grown: bool | None = None) -> None:
        """Add one event with the next number: to the newest entry if it is the same again, else as an entry.

        `grown`, of one that was recorded: whether it stands for all of the newest entry and more, or is another one.

        When there are too many, or too many bytes, the oldest of those kinds go that have most: comings and goings
        push out each other, and never an alarm.
        """
        kind = shown(kind)
        told, size = shown_within(fields)
        known = cast(dict[str, object], told)
        with self._lock:
            self.last_seq += 1
            first_seq = self.last_seq
            folded = known if grown else None
            if grown is None and self._newest is not None:
                folded = _folded(self._newest[0], at, kind, known)
            if folded is not None and self._newest is not None:
                newest, group = self._newest
                first_seq, known = newest.first_seq, folded
                size = shown_within(known)[1]
                self._bytes -= group.drop_newest()
                del self._entries[newest.seq]
            else:
                about = EVENTS[kind][0] if kind in EVENTS else EventGroup.OTHER
                group = self._groups.setdefault(about, _Group())
            entry = self._entries[self.last_seq] = LogEntry(self.last_seq, at, kind, known, first_seq)
            self._newest = entry, group
            group.add(entry.seq, size)
            self._bytes += size
            self._make_room()

    def _make_room(self) -> None:
        while len(self._entries) > self._most:
            self._drop_of(max(self._groups.values(), key=lambda group: len(group.held)))
        while self._bytes > self._bytes_at_most and len(self._entries) > 1:
            self._drop_of(max(self._groups.values(), key=lambda group: group.bytes))

    def _drop_of(self, group: _Group) -> None:
        if len(group.held) == 1 and self._newest is not None and self._newest[1] is group:
            group = next(each for each in self._groups.values() if each is not group and each.held)
        seq, size = group.drop_oldest()
        self._bytes -= size
        del self._entries[seq]

    @property
    def held(self) -> int:
        """How many entries are held."""
        return len(self._entries)

    def holds(self, seq: int) -> bool:
        """Whether the entry of this number is held."""
        return seq in self._entries

    def since(self, seq: int) -> list[LogEntry]:
        """Entries numbered above `seq` that are still held, oldest first."""
        found = []
        with self._lock:
            for number in reversed(self._entries):
                if number <= seq:
                    break
                found.append(self._entries[number])
        return found[::-1]


class _Group:
    """What is held of some kinds."""

    def __init__(self) -> None:
        self.held: deque[tuple[int, int]] = deque()
        """Number and bytes of each entry, oldest first."""
        self.bytes = 0

    def add(self, seq: int, size: int) -> None:
        self.held.append((seq, size))
        self.bytes += size

    def drop_newest(self) -> int:
        _, size = self.held.pop()
        self.bytes -= size
        return size

    def drop_oldest(self) -> tuple[int, int]:
        seq, size = self.held.popleft()
        self.bytes -= size
        return seq, size


def _folded(newest: LogEntry, at: float, kind: str, fields: dict[str, object]) -> dict[str, object] | None:
    """The fields of an entry that stands for the newest and one more; None where that is no repeat."""
    if newest.kind != kind or at - newest.at > FOLDED_WITHIN_S:
        return None
    if kind in JOINING:
        more = _ranks(fields)
        together = {"repeats": _events(newest.fields) + _events(fields)}
        return fields | together | ({"engines": [*_ranks(newest.fields), *more][:RANKS_NAMED]} if more else {})
    if kind in REPEATED and _said(newest.fields) == _said(fields):
        return _said(fields) | {"repeats": _events(newest.fields) + _events(fields)}
    return None


def _said(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name not in ("repeats", "suppressed")}


def _events(fields: Mapping[str, object]) -> int:
    """For how many events an entry with these fields stands."""
    repeats, suppressed = fields.get("repeats"), fields.get("suppressed")
    return (repeats if isinstance(repeats, int) else 1) + (suppressed if isinstance(suppressed, int) else 0)


def _ranks(fields: Mapping[str, object]) -> list[object]:
    ranks, rank = fields.get("engines"), fields.get("engine")
    return ranks if isinstance(ranks, list) else [] if rank is None else [rank]
