"""HAProxy's agent check: `agent-send "rank 3\\n"` asks, one line answers, the connection is over.

`rank 3 state` asks for the state alone, without a weight: for ways to balance that weigh the load by themselves.

The words are HAProxy's (configuration manual, `agent-check`): a weight in percent of the configured one, `up` and
`down` for the operating state, `ready` and `drain` for the administrative one. Only who says `down` or `drain` can take
it back, so every answer names both states. Who says nothing, or no whole line, is told nothing, and nobody is while we
know nothing ourselves, just started: HAProxy then leaves the server as it was.

Anybody who can connect may ask. So there are few connections at a time, of which the oldest gives way, each for a
moment, and few bytes of each are read.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.metrics_core import Metric

from dp_coordinator.limits import TokenBucket
from dp_coordinator.web.routers.weights import Advice

log = logging.getLogger("dp_coordinator.web")

LINE_S = 2.0
"""Seconds in which the line must come and the answer be taken."""
LINE_AT_MOST = 64
RATE = 2500
"""Connections a second in the long run: a thousand ranks, asked for twice a second."""
_RANK = re.compile(rb"rank ([0-9]{1,9})( state)?\r?")
_NO_LINE = (
    'an HAProxy agent check brought no whole line; each server line needs its rank: agent-send "rank 3\\n", with the '
    "\\n at the end"
)


def answer(line: bytes, advice: Sequence[Advice]) -> str:
    """What a line is answered. What is wrong with it, or with the rank, HAProxy shows on its status page."""
    asked = _RANK.fullmatch(line)
    if asked is None:
        return 'fail #say which rank: agent-send "rank 3\\n"'
    rank = int(asked[1])
    if rank >= len(advice):
        return f"fail #there is no rank {rank}: they are 0 to {len(advice) - 1}"
    told = advice[rank]
    if told.gone:
        return f"down ready #{told.avoid}"
    if told.avoid:
        return "up drain"
    return "up ready" if asked[2] else f"up ready {told.weight}%"


class HaproxyAgent:
    """Answers on a listening socket, until closed."""

    def __init__(self, listener: socket.socket, advice: Callable[[], Sequence[Advice] | None], most: int) -> None:
        """`advice` gives None while nothing is known. At `most` so many connections at a time."""
        self._listener = listener
        self._most = most
        self._advice = advice
        self._open: dict[_Conversation, None] = {}
        """Oldest first."""
        self._pace = TokenBucket(RATE, RATE, time.monotonic())
        self._said = TokenBucket(1 / 60, 1, time.monotonic())
        self._server: asyncio.Server | None = None
        self.answered = 0
        """Lines answered so far."""
        self.refused = 0
        """Connections closed so far without an answer."""

    async def start(self) -> None:
        """Begin to answer."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Conversation(self), sock=self._listener)

    def stop(self) -> None:
        """Stop, and close every connection."""
        if self._server is not None:
            self._server.close()
        for each in tuple(self._open):
            each.cut()

    def begin(self, conversation: _Conversation) -> bool:
        """Take one more connection, for which the oldest may have to go; False when they come too fast."""
        if not self._pace.take(time.monotonic()):
            self.refused += 1
            return False
        self._open[conversation] = None
        if len(self._open) > self._most:
            next(iter(self._open)).cut()
        return True

    def end(self, conversation: _Conversation, *, answered: bool) -> None:
        """Forget a connection that is over."""
        if conversation in self._open:
            del self._open[conversation]
            self.refused += not answered

    def answer(self, line: bytes) -> bytes:
        """The answer to a line, with its end; empty while nothing is known."""
        advice = self._advice()
        if advice is None:
            return b""
        self.answered += 1
        return answer(line, advice).encode() + b"\n"

    def gauges(self) -> Iterator[Metric]:
        """How often it was asked."""
        yield Counter("dp_coordinator_haproxy_answers", "Agent checks of HAProxy answered.", value=self.answered)
        yield Counter("dp_coordinator_haproxy_refused", "The same without an answer.", value=self.refused)

    def no_line(self) -> None:
        """Tell, now and then, of a peer that brought no line."""
        if self._said.take(time.monotonic()):
            log.warning("%s", _NO_LINE)


class _Conversation(asyncio.Protocol):
    """One connection: a line, and its answer."""

    def __init__(self, agent: HaproxyAgent) -> None:
        self._agent = agent
        self._read = b""
        self._answered = False
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        setattr(transport, "max_size", LINE_AT_MOST * 2)  # noqa: B010  (of asyncio's own transports: bytes read at once)
        self._timer = asyncio.get_running_loop().call_later(LINE_S, self._too_late)
        if not self._agent.begin(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        self._read += data
        line, ended, _ = self._read.partition(b"\n")
        if ended or len(self._read) > LINE_AT_MOST:
            self._answered = True
            self._transport.write(self._agent.answer(line if ended else b""))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._agent.end(self, answered=self._answered)

    def cut(self) -> None:
        """Close it at once."""
        self._transport.abort()

    def _too_late(self) -> None:
        if not self._answered:
            self._agent.no_line()
        self.cut()
