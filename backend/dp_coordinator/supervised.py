"""What a supervisor and its worker know of each other: two signals and three variables. Standard library alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

SUPERVISOR_VARIABLE = "DP_COORDINATOR_SUPERVISOR_PID"
"""Tells the worker whose child it is: it ends when that is no longer its parent."""
PREVIOUS_END_VARIABLE = "DP_COORDINATOR_PREVIOUS_END"
"""Tells a worker how the one before it ended; the first has none."""
EXIT_SETTINGS = 2
"""A coordinator's exit code: a setting is wrong or an address cannot be bound."""
EXIT_START_TIMEOUT = 3
"""A coordinator's exit code: not every engine subscribed within --start-timeout."""
SERVING = signal.SIGUSR1
"""What a worker that has begun to serve sends to its supervisor."""
ALIVE = signal.SIGUSR2
"""What a worker sends again and again: its loop turns."""
BEAT_S = 0.5
"""Seconds between two signs of life at least; the loop turns once a second, so at most 1.5."""

HANG_TIMEOUT_S = 10.0
HANG_TIMEOUT_LEAST_S = 3
"""Below it, a healthy worker would be killed for nothing."""


def supervisor_pid() -> int | None:
    """The process that supervises this one; None when this is no supervised worker."""
    told = os.environ.get(SUPERVISOR_VARIABLE, "")
    return int(told) if told.isdigit() else None


def previous_end() -> str | None:
    """How the worker before this one ended, in words; None for a first one, or without a supervisor."""
    return os.environ.get(PREVIOUS_END_VARIABLE) if supervisor_pid() == os.getppid() else None


def say_serving() -> None:
    """Tell the supervisor, if there is one, that this worker has begun to serve."""
    _tell(SERVING)


def say_alive() -> None:
    """Tell the supervisor, if there is one, that this worker is not stuck."""
    _tell(ALIVE)


def _tell(number: signal.Signals) -> None:
    supervisor = supervisor_pid()
    if supervisor is not None and supervisor == os.getppid():
        os.kill(supervisor, number)


def lifeline(parent_pid: int | None) -> Callable[[], bool]:
    """To be asked at every turn: whether whoever started us is gone. Gives the supervisor its signs of life, too."""
    supervisor = supervisor_pid()
    parent = parent_pid if supervisor is None else supervisor
    if parent is None:
        return lambda: False
    next_look = 0.0

    def broken() -> bool:
        nonlocal next_look
        now = time.monotonic()
        if now < next_look:
            return False
        next_look = now + BEAT_S
        say_alive()
        return os.getppid() != parent

    return broken
