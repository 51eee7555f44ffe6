"""Child processes that are started again when they die."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

STOP_TIMEOUT_S = 5.0
"""Seconds between SIGTERM and SIGKILL."""


@dataclass(slots=True)
class Child:
    """One process and how to start it."""

    name: str
    arguments: Sequence[str]
    """What follows `dp-coordinator`."""
    process: subprocess.Popen[bytes] | None = None
    start_at: float = 0.0
    """When it is to be started (again), if it does not run."""

    def start(self) -> None:
        """Start it, in a session of its own so that Ctrl-C reaches it through its parent only."""
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "dp_coordinator", *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )


class Children:
    """A set of processes that are kept running."""

    def __init__(self, respawn_after_s: float, say: Callable[[str], None]) -> None:
        """`say` is told of every start and death."""
        self._respawn_after_s = respawn_after_s
        self._say = say
        self._children: list[Child] = []

    def add(self, name: str, arguments: Sequence[str]) -> None:
        """Start one more."""
        child = Child(name, arguments)
        self._children.append(child)
        child.start()

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of those that run."""
        return {child.name: child.process.pid for child in self._children if child.process is not None}

    def look(self, now: float) -> None:
        """Notice who died, and start again those who have been dead for long enough."""
        for child in self._children:
            if child.process is None:
                if now >= child.start_at:
                    child.start()
                    self._say(f"{child.name} started again, pid {self.pids[child.name]}")
            elif (code := child.process.poll()) is not None:
                child.process, child.start_at = None, now + self._respawn_after_s
                how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
                self._say(f"{child.name} {how}; it starts again in {self._respawn_after_s:g} s")

    def close(self) -> None:
        """End all of them."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
