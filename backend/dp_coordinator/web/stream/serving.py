"""`WS /api/v1/stream`: the state as it changes, and every event.

Each text frame is one JSON object, or an array of them where several events are new at once; `type` says which. In
order:

1. `hello`, once: protocol number, when the coordinator started, the newest event number, and `replay_from`, the first
   event number that will follow.
2. `snapshot`, at once and then whenever something changed, at most ten a second, and about one a second as a sign of
   life. Only the newest matters: a viewer that is slow is sent fewer, one of more than some two hundred too, and never
   an old one after a newer one. With `?changes=1`, a `change` of the one before takes its place wherever the viewer was
   sent that; who joins, or missed one, is sent a whole one.
3. `event`, one for each event-log entry, with numbers that count up without gaps. Instead of entries that are not held
   any more comes one `gap` with the first and last number lost.

`?since=N` asks for the events after number N; without it they begin with the next one. A number beyond the newest
belongs to an earlier incarnation of the coordinator and means 0. A viewer that offers permessage-deflate (browsers do)
is sent compressed frames. What a viewer sends is ignored; one that sends a lot
is disconnected.

The server closes with 1001 when it stops, 1008 when the login that the stream was opened with has ended (or the viewer
talks too much), 1013 when too many viewers are connected. A viewer that takes nothing for ten seconds is cut off.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from dp_coordinator.web.access.security import IDENTITY
from dp_coordinator.web.access.sessions import Identity
from dp_coordinator.web.stream.broadcaster import GOODBYE_S, Broadcaster, defects_logged
from dp_coordinator.web.stream.connection import CONNECTION, Connection
from dp_coordinator.web.stream.feed import encode
from dp_coordinator.web.stream.viewer import SERVER_ERROR, TRY_LATER, Viewer


async def serve(websocket: WebSocket, since: int | None, broadcaster: Broadcaster, wants_changes: bool = False) -> None:
    """Talk to one viewer until either side has enough."""
    try:
        await websocket.accept()
        if broadcaster.full:
            await websocket.close(TRY_LATER, "too many viewers, or stopping; try again later")
            return
    except (WebSocketDisconnect, OSError):
        return
    connection: Connection = websocket.scope[CONNECTION]
    if not connection.writable:
        await websocket.close(SERVER_ERROR, "the stream needs uvicorn as its server")
        return
    connection.bound_buffer(broadcaster.settings.send_buffer_bytes)
    viewer, hello = broadcaster.join(connection, since, wants_changes)
    identity: Identity = websocket.scope[IDENTITY]
    if identity.how != "open":
        viewer.still_allowed = partial(websocket.app.state.sessions.still, identity)
    try:
        await websocket.send_text(encode(hello).decode())  # through ASGI: the handshake is then surely over
    except (WebSocketDisconnect, OSError, RuntimeError):
        return  # it has gone; older uvicorn says so with a RuntimeError
    try:
        broadcaster.add(viewer)
        await _until_over(websocket, viewer)
    finally:
        broadcaster.remove(viewer)


async def _until_over(websocket: WebSocket, viewer: Viewer) -> None:
    listening = asyncio.create_task(_listen(websocket))
    endings: set[asyncio.Future[Any]] = {listening, viewer.ending}
    try:
        await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    if viewer.ending.done():
        await _part(websocket, *viewer.ending.result())


async def _listen(websocket: WebSocket) -> None:
    """Read until the viewer goes. What it says does not matter; how much does, and the server looks after that."""
    with defects_logged("listener"):
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass


async def _part(websocket: WebSocket, code: int, reason: str) -> None:
    try:
        async with asyncio.timeout(GOODBYE_S / 2):
            await websocket.close(code, reason)
    except (TimeoutError, OSError, RuntimeError, WebSocketDisconnect):
        websocket.scope[CONNECTION].abort()  # it takes nothing, not even a goodbye
