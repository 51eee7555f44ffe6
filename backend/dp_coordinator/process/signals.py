"""What SIGINT and SIGTERM do to a running coordinator."""

from __future__ import annotations

import signal
import threading
from contextlib import AbstractContextManager, nullcontext

from dp_coordinator.transport import Loop


def signals_stop(loop: Loop) -> AbstractContextManager[None]:
    """SIGINT and SIGTERM stop the loop, wherever it waits. Elsewhere than on the main thread, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        return nullcontext()
    return loop.wake_up.on_signals(signal.SIGINT, signal.SIGTERM, do=loop.stop)
