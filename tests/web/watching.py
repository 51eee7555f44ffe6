"""Reading streams in tests, and broadcasters without a server."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.sync.client import ClientConnection

from dp_coordinator import messages as m
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.web.access.security import IDENTITY
from dp_coordinator.web.access.sessions import Identity
from dp_coordinator.web.past import Past
from dp_coordinator.web.settings import WebSettings
from dp_coordinator.web.stream.broadcaster import Broadcaster
from dp_coordinator.web.stream.connection import CONNECTION
from dp_coordinator.web.stream.viewer import Viewer
from dp_coordinator.web.views import WallClock
from tests.web.builders import snapshot
from tests.web.rig import ENDPOINTS

_decode = msgspec.json.Decoder(m.StreamMessage | list[m.EventMessage]).decode


def messages_in(frame: str | bytes) -> list[Any]:
    """The messages of one text frame: one, or several events."""
    decoded = _decode(frame)
    return decoded if isinstance(decoded, list) else [decoded]


def decode(frame: str | bytes) -> Any:
    """The message of a frame that holds one."""
    (message,) = messages_in(frame)
    return message


def received(viewer: ClientConnection) -> Iterator[Any]:
    """Messages as they come; an error after 20 seconds, for heartbeats never end."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        yield from messages_in(viewer.recv(10))
    raise TimeoutError


def until(viewer: ClientConnection, wanted: Callable[[Any], bool]) -> list[Any]:
    """Messages up to and with the first that is wanted."""
    seen = []
    for message in received(viewer):
        seen.append(message)
        if wanted(message):
            return seen
    raise AssertionError


def events_in(messages: list[Any]) -> list[Any]:
    return [message for message in messages if isinstance(message, m.EventMessage)]


def broadcaster_over(snapshot_now: Any = None, **settings: Any) -> tuple[Broadcaster, Mailbox]:
    """A broadcaster to be sampled at moments of the test's own choosing, over a loop that never stands still."""
    mailbox = Mailbox(snapshot_now or snapshot(), ENDPOINTS, min_stats_update_interval=0.1)
    mailbox.loop_alive_at = math.inf
    return Broadcaster(mailbox, WebSettings(**settings), WallClock(), Past()), mailbox


class Wire:
    """The connection below a viewer, of which somebody takes everything at once, or nothing at all."""

    writable = True
    deflates = False

    def __init__(self, *, deaf: bool = False) -> None:
        self._deaf = deaf
        self._waiting = 0
        self.size = 0
        """Bytes written so far."""
        self.written = asyncio.Event()
        self.aborted = asyncio.Event()

    def unsent(self) -> int:
        return self._waiting

    def write(self, frame: bytes) -> None:
        self.size += len(frame)
        self._waiting += len(frame) if self._deaf else 0
        self.written.set()

    def abort(self) -> None:
        self.aborted.set()

    def bound_buffer(self, size: int) -> None:
        """There is none."""


class Socket:
    """A WebSocket whose peer takes everything; a deaf one takes the first message, and then not even a goodbye."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.wire = Wire(deaf=deaf)
        self.scope: dict[str, Any] = {IDENTITY: Identity("open"), CONNECTION: self.wire}

    async def accept(self) -> None:
        return

    async def send_text(self, text: str) -> None:
        return

    async def receive(self) -> Any:
        await self.wire.aborted.wait()
        return {"type": "websocket.disconnect"}

    async def close(self, code: int, reason: str) -> None:
        await asyncio.Event().wait()


@asynccontextmanager
async def broadcaster_at_work(
    broadcaster: Broadcaster, every_tick: Callable[[float], None] = lambda _: None
) -> AsyncIterator[asyncio.Task[None]]:
    """A broadcaster that samples and writes by itself."""
    task = asyncio.create_task(broadcaster.run(every_tick))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def joined(broadcaster: Broadcaster, since: int | None = None, *, wants_changes: bool = False) -> Viewer:
    """A viewer that is written to with the others."""
    viewer, _ = broadcaster.join(Wire(), since, wants_changes)  # type: ignore[arg-type]
    broadcaster.viewers.add(viewer)
    return viewer


def text_of(frame: bytes) -> bytes:
    """What a whole, unmasked WebSocket text frame says (RFC 6455, 5.2)."""
    assert frame[0] == 0x81, "one final text frame"
    start = {126: 4, 127: 10}.get(frame[1], 2)
    length = frame[1] if start == 2 else int.from_bytes(frame[2:start])
    assert len(frame) == start + length
    return frame[start:]


def drained(broadcaster: Broadcaster, viewer: Viewer) -> list[Any]:
    frames = iter(lambda: broadcaster.next(viewer), None)
    return [message for frame in frames for message in messages_in(text_of(frame))]
