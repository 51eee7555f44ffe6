"""The event log, as REST and the stream carry it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dp_coordinator import words


class Event(msgspec.Struct, frozen=True):
    """One event-log entry; `seq` counts events 1, 2, 3, ... since the process started: it is the newest one's in it."""

    seq: int
    first_seq: int
    """Of the first event in it: what was told of these before, this replaces."""
    at: float
    kind: str
    group: words.EventGroup
    tone: words.Tone
    text: str
    """What happened, in a sentence. What steers, reorders or hides in a text from outside is escaped in it."""
    fields: Mapping[str, object]


class EventPage(msgspec.Struct, frozen=True):
    """`GET /api/v1/events`: entries oldest first; ask again with `since=next_since`."""

    events: list[Event]
    next_since: int
    last_seq: int
    truncated: bool
    """Some entries after `since` are no longer held."""
    started_at: float
    """When the coordinator started: a change of it means that event numbers start again."""


class EventMessage(Event, frozen=True, tag_field="type", tag="event"):
    """One event-log entry, in order."""


class GapMessage(msgspec.Struct, frozen=True, tag_field="type", tag="gap"):
    """Events `first` to `last` are not held any more: the viewer was too slow or away too long."""

    first: int
    last: int
    thinned: bool = False
    """Newer ones are held, and these made room: the oldest of the kinds that come most often go first."""
