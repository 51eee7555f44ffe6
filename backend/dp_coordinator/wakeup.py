"""What ends a wait: a pipe that other threads and signals write to, and that any kind of poller can watch.

It imports next to nothing, for the supervisor uses it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class WakeUp:
    """A descriptor that becomes readable with each `wake` and each signal of `on_signals`, until it is drained."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)

    def fileno(self) -> int:
        """The end to wait on."""
        return self._read

    def wake(self) -> None:
        """End the wait. Safe from any thread and from signal handlers."""
        with suppress(OSError):  # the pipe is full or closed: whoever waits is awake or gone
            os.write(self._write, b"\0")

    def drain(self) -> set[int]:
        """Take out what was written: the signals that came, and 0 for a `wake`."""
        written: set[int] = set()
        with suppress(BlockingIOError):
            while read := os.read(self._read, 4096):
                written.update(read)
        return written

    @contextmanager
    def on_signals(self, *numbers: int, do: Callable[[], None] = lambda: None) -> Iterator[None]:
        """While it lasts these signals wake, and have `do` called in place of what they did. Main thread only."""
        before = {number: signal.signal(number, lambda *_: do()) for number in numbers}
        wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)

    def close(self) -> None:
        """Close both ends; `wake` does nothing from then on."""
        ends, self._write = (self._read, self._write), -1  # a number that is used anew must not be written to
        for end in ends:
            os.close(end)
