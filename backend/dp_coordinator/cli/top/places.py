"""Where each rank is: asked for when the stream says that it changed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from dp_coordinator.cli.rest import Rest, decode
from dp_coordinator.cli.settings import RefusedError, UsageError
from dp_coordinator.messages import PeerPage

EVERY_S = 1.0
"""Seconds between two questions at least: connections may come and go by the thousand."""


class Places:
    """The newest answer; what is asked is asked on a thread of its own."""

    def __init__(self, url: str, token: str | None, answered: Callable[[], None]) -> None:
        """`answered` is called on that thread when there is an answer."""
        self._rest = Rest(url, token)
        self._answered = answered
        self._asked_at = -math.inf
        self._version: int | None = None
        self._busy = False
        self.page: PeerPage | None = None

    def want(self, version: int) -> None:
        """Called with every state's version: what is old, or could not be had, is asked for again."""
        now = time.monotonic()
        if version == self._version or self._busy or now - self._asked_at < EVERY_S:
            return
        self._asked_at, self._busy = now, True
        threading.Thread(target=self._ask, name="places", daemon=True).start()

    def _ask(self) -> None:
        try:
            page = decode(self._rest.get("/api/v1/peers"), PeerPage, self._rest.url)
        except (RefusedError, UsageError):
            return
        finally:
            self._busy = False
        self.page, self._version = page, page.version
        self._answered()
