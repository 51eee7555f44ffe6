"""Processes that are stopped for a while."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_until


def stop(pid: int) -> None:
    """Stop a process, and wait until it stands still: its threads go on until the one that has the signal takes it."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    wait_until(lambda: all(map(_stands, threads.glob("*"))), f"process {pid} stands still")


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
