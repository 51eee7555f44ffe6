"""The web server on a thread of its own, beside the loop."""

from __future__ import annotations

import gc
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dp_coordinator.mailbox import Mailbox
from dp_coordinator.web.settings import WebSettings

if TYPE_CHECKING:
    from dp_coordinator.web.app import Background
    from dp_coordinator.web.server import WebServer

log = logging.getLogger("dp_coordinator")

STOP_TIMEOUT = 5.0
"""Seconds that it gets to say goodbye to its viewers."""


class WebThread(threading.Thread):
    """Serves while it is entered. The web layer is imported here: engines need not wait half a second for that."""

    def __init__(
        self,
        mailbox: Mailbox,
        settings: WebSettings,
        listener: socket.socket,
        on_end: Callable[[], None],
        *,
        beside: Sequence[Callable[[], Background]] = (),
        agent: socket.socket | None = None,
    ) -> None:
        """`beside` makes what runs on the same event loop: each is asked for on this thread.

        `agent` listens for HAProxy's agent checks.
        """
        super().__init__(name="web", daemon=True)
        self._beside = beside
        self._mailbox = mailbox
        self._settings = settings
        self._listener = listener
        self._on_end = on_end
        self._agent = agent
        self._server: WebServer | None = None
        self._stopping = False

    def run(self) -> None:
        """Serve until told to end, or until a defect ends it; then tell the loop."""
        try:
            self._serve()
        except Exception:
            log.exception("the web server met a defect in dp-coordinator; please report it")
        finally:
            self._on_end()

    def _serve(self) -> None:
        gc.disable()  # while much is made, a collection holds the loop up for tens of milliseconds again and again
        try:
            from dp_coordinator.web.app import create_app  # noqa: PLC0415
            from dp_coordinator.web.server import WebServer  # noqa: PLC0415

            app = create_app(self._mailbox, self._settings, [make() for make in self._beside], self._agent)
            self._server = WebServer(app)
        finally:
            gc.freeze()  # without a collection, for the same reason: next to nothing of it is garbage
            gc.enable()
        if not self._stopping:
            self._server.run(sockets=[self._listener])

    def __enter__(self) -> WebThread:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        if self._server is not None:
            self._server.should_exit = True
        self.join(STOP_TIMEOUT)


def freeze() -> None:
    """What start-up made lives as long as the process: collections need not walk it."""
    gc.collect()
    gc.freeze()
