"""Requests take turns: one begins at a time, and the clients that wait are heard in rotation.

What a request costs, some milliseconds with a thousand engines, is paid on the event loop. Were all that have arrived
begun at once, whoever comes next would wait for the sum of them, health checks too; these do not stand in line.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque


class Turns:
    """One line of waiting requests for each client."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._free = True

    async def take(self, client: str) -> None:
        """Return when it is this request's turn to begin."""
        loop = asyncio.get_running_loop()
        if not self._free:
            turn: asyncio.Future[None] = loop.create_future()
            self._lines.setdefault(client, deque()).append(turn)
            await turn
        self._free = False
        loop.call_soon(self._next)

    def _next(self) -> None:
        while self._lines:
            client, line = self._lines.popitem(last=False)
            turn = line.popleft()
            if line:
                self._lines[client] = line  # behind the others
            if not turn.done():  # its task may have been cancelled
                turn.set_result(None)
                return
        self._free = True
