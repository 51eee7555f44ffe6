"""When a simulated process ends: on SIGINT, SIGTERM, or when its parent is gone."""

from __future__ import annotations

import os
import signal
import socket
from types import FrameType, TracebackType
from typing import Any, Self

PARENT_CHECK_S = 0.5
"""At most this many seconds may pass between two looks at `asked`, to notice that the parent is gone."""


class Stop:
    """A context in which the two signals only set `asked` and make the file descriptor readable."""

    def __init__(self, parent_pid: int | None = None) -> None:
        self._parent_pid = parent_pid
        self._signalled = False
        self._woken, self._wakes = socket.socketpair()
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1

    @property
    def asked(self) -> bool:
        """Whether to end."""
        return self._signalled or (self._parent_pid is not None and os.getppid() != self._parent_pid)

    def fileno(self) -> int:
        """Give a descriptor that becomes readable with a signal and stays so."""
        return self._woken.fileno()

    def __enter__(self) -> Self:
        self._wakes.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._woken.close()
        self._wakes.close()
