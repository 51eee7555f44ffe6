"""What a coordinator has beside its loop, each on a thread of its own: the page and the recorder."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

from dp_coordinator.addresses import bound_address
from dp_coordinator.core import Coordinator
from dp_coordinator.descriptors import Listener
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.options import ServeOptions, asks
from dp_coordinator.process.upkeep import Part
from dp_coordinator.process.web_thread import WebThread
from dp_coordinator.recorder.folder import Folder
from dp_coordinator.recorder.recording import Recording
from dp_coordinator.transport import Loop
from dp_coordinator.web.settings import WebSettings

if TYPE_CHECKING:
    from dp_coordinator.web.app import Background

RECORDER_STOP_TIMEOUT = 5.0
"""Seconds that the recorder gets to write what is left."""


def record(options: ServeOptions, coordinator: Coordinator, mailbox: Mailbox, loop: Loop, stack: ExitStack) -> None:
    """Begin to record, between two turns of the loop, and write on a thread of its own until the stack is closed.

    Raises `RecordingError`.
    """
    assert options.record is not None
    told = ("min_stats_update_interval_ms", "manual_start_timeout")
    about = {name: getattr(options, name) for name in told}
    about |= {"endpoints": asdict(mailbox.endpoints), "restarts": mailbox.restarts, "pid": os.getpid()}
    with ExitStack() as begun:
        folder = Folder(options.record, options.record_max_mb << 20)
        begun.callback(folder.close)
        recording = Recording(coordinator, mailbox.log, folder, about, now=time.monotonic())
        recording.begin()
        writing = threading.Thread(target=recording.run, name="recorder", daemon=True)
        writing.start()
        begun.callback(writing.join, RECORDER_STOP_TIMEOUT)
        begun.callback(recording.recorder.close)
        stack.push(begun.pop_all())
    mailbox.recording = recording
    loop.observe(recording.recorder)


class PagePart:
    """Serves the page until the stack is closed."""

    def __init__(
        self,
        listen: Callable[[], Listener],
        listen_agent: Callable[[], Listener | None],
        settings_for: Callable[[Listener], WebSettings],
        mailbox: Mailbox,
        loop: Loop,
        *,
        stack: ExitStack,
        needed: bool,
        beside: Sequence[Callable[[], Background]] = (),
    ) -> None:
        """`beside`: what runs on the web thread's event loop as well, see `WebThread`.

        `needed`: when the web server ends by itself, the loop is to end too; otherwise it is started again.
        """
        self._listen, self._listen_agent, self._settings_for = listen, listen_agent, settings_for
        self._mailbox, self._loop, self._needed = mailbox, loop, needed
        self._beside = beside
        self._serving = stack.enter_context(ExitStack())
        self.part = Part("the page", self.begin)
        self.bound: str | None = None
        """HOST:PORT where it is; None when it never was anywhere."""
        self.ended = False
        """Whether the web server ended by itself, and the loop with it."""

    def begin(self) -> None:
        """Listen, and serve. Raises `SettingsError` when the address or a setting cannot be used."""
        self._serving.close()  # what is left of one that ended by itself
        with ExitStack() as begun:
            listener = begun.enter_context(self._listen())
            agent = self._listen_agent()
            if agent is not None:
                begun.enter_context(agent)
            settings = self._settings_for(listener)
            thread = WebThread(self._mailbox, settings, listener, self._on_end, beside=self._beside, agent=agent)
            begun.enter_context(thread)
            self.bound = bound_address(listener)
            self._serving.push(begun.pop_all())

    def _on_end(self) -> None:
        if self._needed:
            self.ended = True
            self._loop.stop()
        else:
            self.part.lose("the web server has ended, and nobody told it to; the log says why")


def sources(options: ServeOptions, mailbox: Mailbox) -> list[Callable[[], Background]]:
    """What asks the sources, if any are named. Its libraries are imported on the web thread."""
    if not asks(options):
        return []

    def make() -> Background:
        from dp_coordinator.sources.asking import Sources  # noqa: PLC0415

        return Sources(options, mailbox).run

    return [make]
