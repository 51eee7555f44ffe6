"""What a coordinator has beside its loop, each on a thread of its own: the web server and the recorder."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

from dp_coordinator.descriptors import Listener
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.recorder.folder import Folder
from dp_coordinator.recorder.recording import Recording
from dp_coordinator.transport import Loop
from dp_coordinator.upkeep import Part
from dp_coordinator.web.settings import WebSettings

if TYPE_CHECKING:
    from dp_coordinator.web.server import WebServer

log = logging.getLogger("dp_coordinator")

WEB_STOP_TIMEOUT = 5.0
"""Seconds that the web thread gets to say goodbye to its viewers."""
RECORDER_STOP_TIMEOUT = 5.0
"""Seconds that the recorder gets to write what is left."""


class RecordingPart:
    """Writes recordings until the stack is closed."""

    def __init__(self, path: str, max_mb: int, about: dict[str, object], loop: Loop, stack: ExitStack) -> None:
        self._path, self._max_bytes, self._about = path, max_mb << 20, about
        self._loop, self._stack = loop, stack

    def begin(self) -> None:
        """Begin, between two turns of the loop. Raises `RecordingError`."""
        mailbox = self._loop.mailbox
        folder = Folder(self._path, self._max_bytes)
        self._stack.callback(folder.close)
        recording = Recording(self._loop.core, mailbox.log, folder, self._about, now=time.monotonic())
        recording.begin()
        writing = threading.Thread(target=recording.run, name="recorder", daemon=True)
        writing.start()
        self._stack.callback(writing.join, RECORDER_STOP_TIMEOUT)
        self._stack.callback(recording.tape.close)
        mailbox.recording = recording
        self._loop.record(recording.tape)


class PagePart:
    """Serves the page until the stack is closed."""

    def __init__(
        self,
        listen: Callable[[], AbstractContextManager[Listener]],
        settings_for: Callable[[Listener], WebSettings],
        loop: Loop,
        stack: ExitStack,
        *,
        needed: bool,
    ) -> None:
        """`needed`: when the web server ends by itself, the loop is to end too; otherwise it is started again."""
        self._listen, self._settings_for = listen, settings_for
        self._loop, self._stack, self._needed = loop, stack, needed
        self.part = Part("the page", self.begin)
        self.bound: str | None = None
        """HOST:PORT where it is; None when it never was anywhere."""
        self.ended = False
        """Whether the web server ended by itself, and the loop with it."""

    def begin(self) -> None:
        """Listen, and serve. Raises when the address or a setting cannot be used."""
        with ExitStack() as stack:
            listener = stack.enter_context(self._listen())
            settings = self._settings_for(listener)
            stack.enter_context(_Web(self._loop.mailbox, settings, listener, self._on_end))
            self.bound = name_of(listener)
            self._stack.push(stack.pop_all())

    def _on_end(self) -> None:
        if self._needed:
            self.ended = True
            self._loop.stop()
        else:
            self.part.lose("the web server has ended, and nobody told it to; the log says why")


def name_of(listener: socket.socket) -> str:
    """Where it listens, as HOST:PORT."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Web(threading.Thread):
    """The web server on its own thread. It is imported there too: engines need not wait half a second for that."""

    def __init__(self, mailbox: Mailbox, settings: WebSettings, listener: socket.socket, on_end: Callable[[], None]):
        super().__init__(name="web", daemon=True)
        self._mailbox = mailbox
        self._settings = settings
        self._listener = listener
        self._on_end = on_end
        self._server: WebServer | None = None
        self._stopping = False

    def run(self) -> None:
        try:
            self._serve()
        except Exception:
            log.exception("the web server met a defect in dp-coordinator; please report it")
        finally:
            self._on_end()

    def _serve(self) -> None:
        from dp_coordinator.web.app import create_app  # noqa: PLC0415
        from dp_coordinator.web.server import WebServer  # noqa: PLC0415

        app = create_app(self._mailbox, self._settings)
        self._server = WebServer(app, max_viewers=self._settings.max_viewers)
        freeze()
        if not self._stopping:
            self._server.run(sockets=[self._listener])

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        if self._server is not None:
            self._server.should_exit = True
        self.join(WEB_STOP_TIMEOUT)


def freeze() -> None:
    """What start-up made lives as long as the process: collections need not walk it."""
    gc.collect()
    gc.freeze()
