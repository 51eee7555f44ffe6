"""One recording under way: the recorder for the loop's thread, the writer for a thread of its own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from queue import SimpleQueue

from dp_coordinator import __version__
from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.mailbox import EventLog
from dp_coordinator.recorder.folder import Folder
from dp_coordinator.recorder.inputs import InputRecorder, Queue, RecorderRequests
from dp_coordinator.recorder.writer import RECENT_BYTES, Writer


class Recording:
    """Call `begin`, then `run` on another thread; the loop tells `recorder`; close that, and `run` returns."""

    def __init__(
        self,
        core: Coordinator,
        event_log: EventLog,
        folder: Folder,
        about: Mapping[str, object],
        *,
        now: float,
        recent_bytes: int = RECENT_BYTES,
    ) -> None:
        """`about`: what else a reader of the file should know of this process. Nothing secret may be in it.

        `now` is the loop's clock.
        """
        queue: Queue = SimpleQueue()
        requests = RecorderRequests()
        header = {
            "version": __version__,
            "run": secrets.token_hex(8),
            "dialect": core.dialect.version,
            "engine_count": core.engine_count,
            "wave_coordination": core.state.wave_coordination,
            **about,
            "began": {"wall": time.time(), "monotonic": now},
        }
        writer = Writer(queue, requests, header, event_log, folder, recent_bytes=recent_bytes)
        self.recorder = InputRecorder(core, queue, requests, now)
        self.begin, self.run, self.recent = writer.begin, writer.run, writer.recent
        self.caught_up = requests.caught_up
