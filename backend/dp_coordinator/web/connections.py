"""uvicorn's protocols with bounds: how many connections, how long each may be silent, and how much it may say.

Nothing here refuses a newcomer for what others do: when there are too many connections, or too many of one address,
the one of them that has been without a new request for longest gives way. Viewers, and answers that go on and on, are
counted apart and never do.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.protocol import State

from dp_coordinator.hosts import neighbourhood
from dp_coordinator.limits import TokenBucket
from dp_coordinator.web.access.turned_away import TurnedAway
from dp_coordinator.web.stream.frames import offer

HEAD_S = 10.0
"""In which a connection must bring the whole head of its first or next request."""
REQUEST_S = 60.0
"""In which a request must have come, and its answer have been taken."""
LINGER_S = 2.0
"""In which the rest of a request that was answered already must come: a reset at once might overtake the answer."""
REST_AT_MOST = 64 * 1024
"""Bytes of that rest, after which nothing more is parsed."""
READ_AT_ONCE = 16 * 1024
"""Bytes of one peer that are parsed before others have their turn; asyncio takes 256 KiB, half a second of pings."""
_SWEEP_S = 0.5
_HEAD_AT_MOST = 16 * 1024
_FRAMES_A_SECOND, _FRAMES_AT_ONCE = 10, 100
_PARSED_AT_ONCE = 512
_OTHERS = 256
"""Connections beside WebSockets."""
_LEAVING = 32
"""WebSockets beside the viewers that are allowed: those that were told to come later and did not say goodbye yet."""
_ANSWERS_KEPT = 64
"""Answers at a time that may last: a few routers, each on a few machines."""
_POLICY = 1008
_BAD_LINES = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\n[ \t]")


class Connections:
    """All connections of one server."""

    def __init__(self, turned_away: TurnedAway, max_viewers: int, most: int, of_one_address: int = 128) -> None:
        """At `most` so many connections, at most half of them no viewers', and of these so many `of_one_address`."""
        self._turned_away = turned_away
        self._most, self._of_one_address = max(1, min(_OTHERS, most // 2)), of_one_address
        self._max_sockets = min(max_viewers + _LEAVING, most - self._most)
        self._held: dict[BoundedHttp, str] = {}
        """Connections and their addresses; the one without a new request for longest comes first."""
        self._counts: Counter[str] = Counter()
        self._sockets: set[BoundedWebSocket] = set()
        self._kept: set[BoundedHttp] = set()
        """Those with an answer that lasts; they take the places of viewers."""
        self._sweeper: asyncio.TimerHandle | None = None

    def protocols(self) -> dict[str, Any]:
        """What `uvicorn.Config` is to be given."""
        logging.getLogger("uvicorn.error").addFilter(_not_a_peers_fault)
        return {
            "http": functools.partial(BoundedHttp, connections=self),
            "ws": functools.partial(BoundedWebSocket, connections=self),
        }

    def add(self, connection: BoundedHttp, address: str) -> None:
        """One more, for which another may have to go."""
        self._held[connection] = address
        self._counts[address] += 1
        if self._counts[address] > self._of_one_address:
            self._give_way(address)
        elif len(self._held) > self._most:
            self._give_way(self._counts.most_common(1)[0][0])
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def heard(self, connection: BoundedHttp) -> None:
        """It has brought a request."""
        if connection in self._held:
            self._held[connection] = self._held.pop(connection)

    def remove(self, connection: BoundedHttp) -> None:
        """It has gone, or becomes a WebSocket, or is kept."""
        self._kept.discard(connection)
        address = self._held.pop(connection, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def add_socket(self, socket: BoundedWebSocket) -> bool:
        """One more WebSocket; False when there are too many."""
        self._sockets.add(socket)
        return len(self._sockets) + len(self._kept) <= self._max_sockets

    def keep(self, connection: BoundedHttp) -> bool:
        """Let its answer last; False when there are too many such answers."""
        if len(self._kept) >= _ANSWERS_KEPT or len(self._sockets) + len(self._kept) >= self._max_sockets:
            return False
        self.remove(connection)
        self._kept.add(connection)
        return True

    def remove_socket(self, socket: BoundedWebSocket) -> None:
        """It has gone."""
        self._sockets.discard(socket)

    def refused(self, kind: str, client: tuple[str, int | None] | None, why: str) -> None:
        """Count it and tell of it."""
        self._turned_away.add(kind, client[0] if client else "unknown", why)

    def _give_way(self, address: str) -> None:
        longest = next(each for each, of in self._held.items() if of == address)
        self.refused("connections", longest.client, "too many connections are open: the oldest was closed")
        self.remove(longest)
        longest.cut()

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in [each for each in self._held if each.overdue(now)]:
            connection.cut()
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep) if self._held else None


def _not_a_peers_fault(record: logging.LogRecord) -> bool:
    """Keeps uvicorn's warnings off the log: one for each bad request, from anybody, as fast as they come."""
    return record.levelno != logging.WARNING


class StrictParser(h11.Connection):
    """Takes no request of which two programs may think differently where it ends (RFC 9112, 2.2, 5.2 and 6.3)."""

    def __init__(self, on_request: Callable[[], None]) -> None:
        super().__init__(h11.SERVER, _HEAD_AT_MOST)
        self._on_request = on_request
        self._last = b""

    def next_event(self) -> Any:
        """As h11's, which is more lenient. Raises `h11.RemoteProtocolError`."""
        before = self.trailing_data[0]
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._last = b""
            return event
        lines = self._last + before[: len(before) - len(self.trailing_data[0])]
        self._last = b"\r" if lines.endswith(b"\r") else b""
        if _BAD_LINES.search(lines):
            raise h11.RemoteProtocolError("a line does not end with CR LF, or goes on in the next")
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            if b"transfer-encoding" in names and (b"content-length" in names or event.http_version < b"1.1"):
                raise h11.RemoteProtocolError("Transfer-Encoding does not go with Content-Length, or with HTTP/1.0")
            self._on_request()
        return event


class BoundedHttp(H11Protocol):
    """One connection."""

    def __init__(self, *args: Any, connections: Connections, **more: Any) -> None:
        super().__init__(*args, **more)
        self.conn = StrictParser(self._on_request)
        self._connections = connections
        self._since = time.monotonic()
        self._rest = 0
        self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        setattr(transport, "max_size", READ_AT_ONCE)  # noqa: B010  (of asyncio's own transports)
        self._connections.add(self, neighbourhood(self.client[0]) if self.client else "unknown")

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse it, unless it is of no use any more."""
        if self._lingers:
            self._rest += len(data)
            if self._rest > REST_AT_MOST and not self._deaf:
                self._deaf = True
                self.transport.write_eof()
        if not self._deaf:
            super().data_received(data)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Become a WebSocket."""
        self._connections.remove(self)
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no good HTTP, and close."""
        self._connections.refused("http", self.client, "what it sent is not HTTP as it must be")
        if self.cycle is not None:
            self.cycle.disconnected = True  # the answer to its head, if that was good, is of no use
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for what is left of this one."""
        self._since, self._rest = time.monotonic(), 0
        super().on_response_complete()

    def overdue(self, now: float) -> bool:
        """Whether it has taken longer than it may."""
        answered = self.cycle is None or self.cycle.response_complete
        if self._lingers:
            limit = LINGER_S
        elif answered and not self.transport.get_write_buffer_size():
            limit = HEAD_S
        else:
            limit = REQUEST_S
        return now - self._since > limit

    def cut(self) -> None:
        """Close it at once."""
        self.transport.abort()

    def keep(self) -> bool:
        """Let the answer under way last as long as it wants to; False when there are too many such answers."""
        return self._connections.keep(self)

    @property
    def _lingers(self) -> bool:
        """Whether it still sends a request that was answered already."""
        return self.cycle is not None and self.cycle.response_complete and self.conn.their_state is h11.SEND_BODY

    def _on_request(self) -> None:
        self._since = time.monotonic()
        self._connections.heard(self)


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """One viewer, which has little to say: every frame of it counts, pings too."""

    def __init__(self, *args: Any, connections: Connections, **more: Any) -> None:
        super().__init__(*args, **more)
        self.conn.available_extensions = [offer()]
        self._connections = connections
        self._patience = TokenBucket(_FRAMES_A_SECOND, _FRAMES_AT_ONCE, time.monotonic())
        self._sent_away = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        if not self._connections.add_socket(self):
            self._connections.refused("connections", self.client, "too many WebSockets are open")
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._connections.remove_socket(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse it bit by bit, so that a flood is stopped at its beginning."""
        for start in range(0, len(data), _PARSED_AT_ONCE):
            if self._sent_away or self.transport.is_closing():
                return
            super().data_received(data[start : start + _PARSED_AT_ONCE])

    def handle_events(self) -> None:
        """Take in what was parsed, unless it is too much."""
        now = time.monotonic()
        if all(self._patience.take(now) for event in self.conn.events if isinstance(event, Frame)):
            super().handle_events()
            return
        self._send_away("this stream takes no messages")

    def handle_parser_exception(self) -> None:
        """End it: what came is no WebSocket, perhaps because it came before the handshake was over."""
        if self.conn.close_sent is None:
            self._connections.refused("http", self.client, "what it sent is no WebSocket")
            self.transport.abort()
        else:
            super().handle_parser_exception()

    def _send_away(self, why: str) -> None:
        """Say goodbye, and throw away what still comes: closed at once, the peer might not hear it."""
        if self.conn.state is not State.OPEN:
            self.transport.abort()
            return
        self._sent_away = self.close_sent = True
        self.conn.send_close(_POLICY, why)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.abort)  # uvicorn's end of it waits for that
        self.queue.put_nowait({"type": "websocket.disconnect", "code": _POLICY, "reason": why})
