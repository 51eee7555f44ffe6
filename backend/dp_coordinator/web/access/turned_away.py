"""Requests that were refused for where they come from or what they carry: counted, and logged at a limited rate."""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict

from dp_coordinator.limits import TokenBucket

log = logging.getLogger("dp_coordinator.web")

KINDS = ("host", "origin", "upgrade", "token", "http", "connections")
"""What was wrong: the Host or Origin header, the WebSocket handshake, the token, the HTTP itself, their number."""
_AT_ONCE, _A_SECOND = 5, 0.1
"""Lines of one kind."""
_TOLD_FOR_S = 30.0
_CLIENTS = 1024


class TurnedAway:
    """Keeps count, and knows for a while why a client's stream was refused: a browser does not tell its page."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(KINDS, 0)
        """How many so far, by kind."""
        now = time.monotonic()
        self._lines = {kind: TokenBucket(_A_SECOND, _AT_ONCE, now) for kind in KINDS}
        self._unsaid = dict.fromkeys(KINDS, 0)
        self._streams: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def add(self, kind: str, client: str, why: str, *, stream: bool = False) -> None:
        """One more of `kind`. `why` is half a sentence that says what to do; `stream`: its page will ask for it."""
        now = time.monotonic()
        self.counts[kind] += 1
        if stream:
            self._streams[client] = now, why
            self._streams.move_to_end(client)
            while len(self._streams) > _CLIENTS:
                self._streams.popitem(last=False)
        if not self._lines[kind].take(now):
            self._unsaid[kind] += 1
            return
        log.info("refused %s: %s%s", client, why, self._further(kind))

    def flush(self, now: float) -> None:
        """Tell how many were only counted, once there is room for a line."""
        for kind, unsaid in self._unsaid.items():
            if unsaid and self._lines[kind].take(now):
                log.info("refused further requests for the same reason (%s)%s", kind, self._further(kind))

    def stream_of(self, client: str) -> str | None:
        """Why the newest stream of this client was refused, if that was just now."""
        at, why = self._streams.get(client, (-math.inf, None))
        return why if time.monotonic() - at < _TOLD_FOR_S else None

    def _further(self, kind: str) -> str:
        unsaid, self._unsaid[kind] = self._unsaid[kind], 0
        return f" ({unsaid} more were not logged)" if unsaid else ""
