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
    with loop.wake_up.on_signals(signal.SIGINT, signal.SIGTERM, do=loop.stop):
        yield
