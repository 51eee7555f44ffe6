"""How a simulated process runs until it ends: by a signal (`endings`), or when its parent is gone."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Self

from dp_coordinator.client import ClientError
from dp_coordinator.endings import told_to_end
from dp_coordinator.wakeup import WakeUp

log = logging.getLogger(__name__)

PARENT_CHECK_S = 0.5
"""At most this many seconds may pass between two looks at `over`, to notice that the parent is gone."""


class Lifetime(ExitStack):
    """What a process holds until it ends. In it a signal only sets `over` and makes the descriptor readable."""

    def __init__(self, parent_pid: int | None = None) -> None:
        super().__init__()
        self._parent_pid = parent_pid
        self._signalled = False
        self._wake_up = WakeUp()

    @property
    def over(self) -> bool:
        """Whether to end."""
        return self._signalled or (self._parent_pid is not None and os.getppid() != self._parent_pid)

    def fileno(self) -> int:
        """Give a descriptor that becomes readable with a signal and stays so."""
        return self._wake_up.fileno()

    def __enter__(self) -> Self:
        self.callback(self._wake_up.close)
        self.enter_context(told_to_end()).then(self._on_signal)
        return self

    def _on_signal(self) -> None:
        self._signalled = True
        self._wake_up.wake()


def run_until_stopped(whose: str, parent_pid: int | None, live: Callable[[Lifetime], Mapping[str, object]]) -> int:
    """Let a process live, and print the account that it gives at its end; the exit code: 0, or 1 if it cannot start."""
    try:
        with Lifetime(parent_pid) as lifetime:
            account = live(lifetime)
    except (ClientError, OSError, ValueError) as error:
        log.error("%s: %s", whose, error)
        return 1
    print(json.dumps(account), flush=True)
    return 0
