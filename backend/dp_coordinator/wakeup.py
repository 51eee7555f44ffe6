"""What ends a wait: a pipe that other threads write to, and that any kind of poller can watch."""

from __future__ import annotations

import os
from contextlib import suppress


class WakeUp:
    """A descriptor that becomes readable with each `wake`, until it is drained."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)

    def fileno(self) -> int:
        """The end to wait on."""
        return self._read

    def wake(self) -> None:
        """End the wait. Safe from any thread."""
        with suppress(OSError):  # the pipe is full or closed: whoever waits is awake or gone
            os.write(self._write, b"\0")

    def drain(self) -> None:
        """Take out what was written."""
        with suppress(BlockingIOError):
            while os.read(self._read, 4096):
                pass

    def close(self) -> None:
        """Close both ends; `wake` does nothing from then on."""
        ends, self._write = (self._read, self._write), -1  # a number that is used anew must not be written to
        for end in ends:
            os.close(end)
