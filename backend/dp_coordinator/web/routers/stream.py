"""`GET /api/v1/loads/stream`: the loads as server-sent events, for routers that would rather listen than ask.

Each event is what `GET /api/v1/loads` would answer: at once, then as something changes, at most ten a second, and one
a second anyway. A listener that is slow is sent fewer, and never an old one after a newer one; one that takes nothing
for ten seconds is cut off.
"""

from __future__ import annotations

import asyncio
import math
import time

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.hosts import neighbourhood
from dp_coordinator.limits import Places
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages_loads import LoadPage
from dp_coordinator.web.access.security import HEAD, IDENTITY, address_of
from dp_coordinator.web.access.sessions import Identity, Sessions
from dp_coordinator.web.problems import ProblemError
from dp_coordinator.web.routers.loads import LoadBoard
from dp_coordinator.web.settings import WebSettings
from dp_coordinator.web.stream.broadcaster import defects_logged
from dp_coordinator.web.stream.connection import CONNECTION, Connection

OF_ONE_ADDRESS = 32
"""Streams; half of those that there may be (`web.connections`)."""
_AGAIN = b"retry: 1000\n\n"
"""Milliseconds until a browser's EventSource connects again."""
_encode = msgspec.json.Encoder().encode


class LoadStream:
    """Makes each event once for all who listen. Belongs to the web thread."""

    def __init__(self, mailbox: Mailbox, board: LoadBoard, settings: WebSettings, sessions: Sessions) -> None:
        self.settings = settings
        self._sessions = sessions
        self._mailbox = mailbox
        self._board = board
        self._places = Places(OF_ONE_ADDRESS)
        self._listeners = 0
        self._told: tuple[Snapshot | None, float] = (None, -math.inf)
        """What the newest event tells of, and when it was made."""
        self._number, self._event = 0, b""
        self._news = asyncio.Condition()
        self._stopping = False

    async def run(self) -> None:
        """Make events until cancelled, while anybody listens."""
        while True:
            began = time.monotonic()
            if self._listeners:
                with defects_logged("load stream"):
                    await self._look(began)
            await asyncio.sleep(max(0.0, began + self.settings.sample_interval_s - time.monotonic()))

    async def _look(self, began: float) -> None:
        snapshot, (told, told_at) = self._mailbox.seen(), self._told
        if snapshot is told and began - told_at < self.settings.heartbeat_s:
            return
        async with self._news:
            self._told = snapshot, began
            self._number, self._event = self._number + 1, self.event()
            self._news.notify_all()

    def event(self) -> bytes:
        """The loads as they are now."""
        return b"data: " + _encode(LoadPage(self._board.loads())) + b"\n\n"

    async def next(self, shown: int) -> tuple[int, bytes] | None:
        """The newest event's number and text, once it is another than `shown`; None when this stops."""
        async with self._news:
            await self._news.wait_for(lambda: self._number != shown or self._stopping)
            return None if self._stopping else (self._number, self._event)

    async def stop(self) -> None:
        """End every stream."""
        async with self._news:
            self._stopping = True
            self._news.notify_all()

    def enter(self, client: str, connection: Connection) -> None:
        """One more listens. Raises `ProblemError` when there are too many."""
        if not self._places.take(client):
            raise _too_many(f"{OF_ONE_ADDRESS} load streams of this address are open, and no more are taken")
        if not connection.keep():
            self._places.give_back(client)
            raise _too_many("too many streams are open")
        self._listeners += 1

    def allows(self, identity: Identity) -> bool:
        """Whether who asked may still listen."""
        return identity.how == "open" or self._sessions.still(identity)

    def leave(self, client: str) -> None:
        """It has gone."""
        self._listeners -= 1
        self._places.give_back(client)


def _too_many(detail: str) -> ProblemError:
    return ProblemError("too-many-viewers", detail)


class Events(Response):
    """One listener's stream."""

    media_type = "text/event-stream"

    def __init__(self, stream: LoadStream) -> None:
        # An nginx in between would hold events back. A connection that had no bounds as a stream ends with it.
        super().__init__(headers={"X-Accel-Buffering": "no", "Connection": "close"})
        del self.headers["content-length"]
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until either side has enough."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        if scope.get(HEAD):
            await send(start)
            await send(_part(b"", more=False))
            return
        connection, client = scope[CONNECTION], neighbourhood(address_of(scope))
        self._stream.enter(client, connection)
        try:
            connection.bound_buffer(self._stream.settings.send_buffer_bytes)
            await send(start)
            await send(_part(_AGAIN + self._stream.event()))
            await self._follow(connection, scope[IDENTITY], send)
        finally:
            self._stream.leave(client)

    async def _follow(self, connection: Connection, identity: Identity, send: Send) -> None:
        shown, blocked_since = 0, None
        while (news := await self._stream.next(shown)) is not None and self._stream.allows(identity):
            (shown, event), now = news, time.monotonic()
            if connection.closing:
                return
            if not connection.unsent():
                blocked_since = None
                await send(_part(event))
                continue
            blocked_since = blocked_since or now
            if now - blocked_since >= self._stream.settings.stall_timeout_s:
                connection.abort()
                return
        await send(_part(b"", more=False))


def _part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
