"""What SIGINT and SIGTERM do to a running coordinator."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dp_coordinator.transport import Loop


@contextmanager
def signals_stop(loop: Loop) -> Iterator[None]:
    """SIGINT and SIGTERM stop the loop, wherever it waits. Elsewhere than on the main thread, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: loop.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    wakeup_before = signal.set_wakeup_fd(loop.wake_fd, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
