"""What a connection may send: far more than any engine or front-end of vLLM does. Beyond it, it is cut off.

Nothing here is about small reports: an engine may send as many as it can, and the excess waits at its end.
"""

from __future__ import annotations

from dp_coordinator.limits import TokenBucket
from dp_coordinator.wire.coordinator import MAX_FRAME
from dp_coordinator.words import Channel

MAX_MESSAGE = {
    Channel.FRONT_PUBLISH: 4 << 10,
    Channel.BACK_PUBLISH: 4 << 10,
    Channel.BACK_OUTPUT: MAX_FRAME + (4 << 10),
}
"""Bytes; libzmq closes the connection of a peer that announces a larger frame, before it takes up memory.

Somewhat more than is taken (`wire.coordinator`), so that one which is a little too large is counted and named.
"""
BIG = 16 << 10
"""Bytes; a smaller frame of an engine costs nothing."""
BIG_BURST, BIG_RATE = 8 << 20, 1 << 20
"""Bytes at once, and a second, that an engine may send in larger ones."""
UNREADABLE_OUTPUTS, UNREADABLE_MESSAGE = 8 << 10, 10
"""Bytes, and messages: so much more a frame that cannot be read costs."""
MESSAGES_BURST, MESSAGES_RATE = 2_000, 1_000
"""Messages at once, and a second, on an XPUB: a front-end sends one in a pause, an engine one in its life.

Each takes the loop's thread some ten microseconds, and START waits behind those of everybody.
"""
TOPICS = 32 << 10
"""Bytes of topics to which one connection may subscribe; vLLM's have none. libzmq takes fifty times as much."""


class Allowance:
    """That of one connection."""

    __slots__ = ("_left", "_topics")

    def __init__(self, channel: Channel, now: float) -> None:
        engine = channel is Channel.BACK_OUTPUT
        self._left = (
            TokenBucket(BIG_RATE, BIG_BURST, now) if engine else TokenBucket(MESSAGES_RATE, MESSAGES_BURST, now)
        )
        self._topics = 0

    def message(self, topic: int, now: float) -> str | None:
        """A message came through an XPUB, and subscribed to so many bytes of topic. What to cut off for, if so."""
        self._topics += topic
        if self._topics > TOPICS:
            return f"it subscribed to {self._topics} bytes of topics, of at most {TOPICS}"
        return None if self._left.take(now) else f"it sent more than {MESSAGES_RATE} messages a second"

    def outputs(self, size: int, now: float) -> str | None:
        """A frame of so many bytes came through back_output. What to cut off for, if so."""
        if size <= BIG or self._left.take(now, size):
            return None
        return f"it sent more than {BIG_RATE} bytes a second in frames above {BIG}"

    def unreadable(self, channel: Channel, now: float) -> str | None:
        """What came last is no message of the protocol. What to cut off for, if so."""
        engine = channel is Channel.BACK_OUTPUT
        if self._left.take(now, UNREADABLE_OUTPUTS if engine else UNREADABLE_MESSAGE):
            return None
        rate = BIG_RATE // UNREADABLE_OUTPUTS if engine else MESSAGES_RATE // UNREADABLE_MESSAGE
        return f"it sent more than {rate} frames a second that are no message of the protocol"
