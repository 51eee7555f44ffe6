"""What the stream says instead of a whole snapshot, to viewers that asked for changes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class SnapshotChange(msgspec.Struct, frozen=True, tag_field="type", tag="change"):
    """What is different in a snapshot from the one that was sent before it; all else is as it was.

    A viewer that does not hold snapshot `of` cannot use it. It is never sent one as long as it misses nothing.
    """

    number: int
    """Of the snapshot that this makes."""
    of: int
    """Of the snapshot that it changes."""
    fields: Mapping[str, object]
    """Fields of the snapshot that are different, whole; all but `engines`."""
    engines: Mapping[str, object]
    """Columns that are different. `status` and `provenance` are whole. Of any other, for each rank: what is to be added
    to its value (to nothing, where that was null), then rounded to three places; null where it is null now."""
