"""One viewer's place in the stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dp_coordinator.web.stream.connection import Connection

GOING_AWAY, POLICY, SERVER_ERROR, RESTARTED, TRY_LATER = 1001, 1008, 1011, 1012, 1013
"""Why the server closes a WebSocket (RFC 6455, 7.4.1)."""


class Viewer:
    """One WebSocket's place in the stream."""

    def __init__(self, connection: Connection, seen: int, wants_changes: bool = False) -> None:
        self.connection = connection
        self.wants_changes = wants_changes
        """Whether it takes a change instead of a whole snapshot."""
        self.seen = seen
        """The newest event number that was sent."""
        self.shown = 0
        """The number of the newest snapshot that was sent."""
        self.blocked_since: float | None = None
        """Since when it has not taken what was written."""
        self.ending: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.still_allowed: Callable[[], bool] = lambda: True

    def end(self, code: int, reason: str) -> None:
        """Ask that the viewer be disconnected."""
        if not self.ending.done():
            self.ending.set_result((code, reason))
