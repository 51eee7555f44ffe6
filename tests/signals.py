"""Processes that are stopped for a while."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK_EVERY_S = 0.001


def stop(pid: int) -> None:
    """Stop a process, and wait until it stands still: its threads go on until the one that has the signal takes it."""
    os.kill(pid, signal.SIGSTOP)
    while not all(_stands(thread) for thread in Path(f"/proc/{pid}/task").glob("*")):
        time.sleep(LOOK_EVERY_S)


def _stands(thread: Path) -> bool:
    try:
        state = (thread / "stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended
    return state in "TtZX"


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process does nothing meanwhile."""
    stop(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
