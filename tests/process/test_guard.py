"""The process's own limit of memory, and what is given back after trouble."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import SimpleNamespace

import pytest

from dp_coordinator.process.guard import Guard
from dp_coordinator.transport import Sockets
from dp_coordinator.transport.backlog import MOST_UNHEARD, Backlog
from dp_coordinator.transport.peers import UNFINISHED
from dp_coordinator.words import Channel
from tests.transport.rig import PATIENCE, admit
from tests.transport.strangers import frame
from tests.transport.zmtp import connect

OUTPUTS = Channel.BACK_OUTPUT
TAKE = """
import sys
from dp_coordinator.process.guard import limit_memory
limit_memory(int(sys.argv[1]), int(sys.argv[2]))
try:
    taken = bytearray(300 << 20)
except MemoryError:
    sys.exit(7)
"""


@pytest.mark.parametrize(
    ("megabytes", "engines", "ends_with"), [(64, 1, 7), (600, 1, 0), (0, 1, 0), (64, 200, 7), (64, 1024, 0)]
)
def test_memory_beyond_the_limit_is_refused(megabytes: int, engines: int, ends_with: int) -> None:
    command = [sys.executable, "-c", TAKE, str(megabytes), str(engines)]
    assert subprocess.run(command, check=False).returncode == ends_with


@pytest.mark.parametrize(("steps", "ended"), [(lambda: 1, True), (count().__next__, False)])
def test_who_keeps_the_loop_busy_is_ended_unless_it_goes_from_step_to_step(
    monkeypatch: pytest.MonkeyPatch, steps: Callable[[], int], ended: bool
) -> None:
    monkeypatch.setattr("dp_coordinator.process.guard.NEVER_MUCH", 1 << 40)
    anywhere = "tcp://127.0.0.1:0"
    with Sockets(anywhere, anywhere, anywhere) as sockets, Guard(sockets, steps):
        with ThreadPoolExecutor() as pool:
            stranger = pool.submit(connect, sockets.endpoints().back_output, b"PUSH").result
            admit(sockets)
            with stranger(PATIENCE) as end:
                end.sendall(frame(bytes(4000), more=True) * (2 * MOST_UNHEARD // 4000))
                until = time.thread_time() + (PATIENCE if ended else 0.5)
                while not (gone := list(sockets.watches[OUTPUTS].ended())) and time.thread_time() < until:
                    pass  # as libzmq does, when subscriptions keep it busy
        assert [why for _, why in gone] == [UNFINISHED] * ended


def test_looks_take_a_share_of_the_time_unless_memory_grows_by_leaps(monkeypatch: pytest.MonkeyPatch) -> None:
    anywhere, looks = "tcp://127.0.0.1:0", list[float]()
    with Sockets(anywhere, anywhere, anywhere) as sockets:
        guard = Guard(sockets, count(1).__next__)

        def look(_: Backlog, now: float) -> tuple[()]:
            looks.append(now)
            return ()

        monkeypatch.setattr(Backlog, "look", look)
        monkeypatch.setattr("dp_coordinator.process.guard.time", SimpleNamespace(monotonic=lambda: looks[-1] + 0.1))
        for now, megabytes in [
            (0.0, 200),  # far more than a moment ago
            (0.1, 201),
            (0.3, 203),
            (0.31, 205),  # a leap
            (0.32, 206),
            (0.8, 206),
            (0.82, 206),  # it took 0.1 s: half a second later
        ]:
            guard.look(megabytes << 20, 0.0, now)
    assert looks == [0.0, 0.31, 0.82]


def test_memory_that_grows_slowly_is_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time twice, and what was seen at the first is remembered until the second."""
    anywhere, seen = "tcp://127.0.0.1:0", list[float | None]()

    def look(_: Backlog, now: float) -> tuple[()]:
        seen.append(now)
        return ()

    monkeypatch.setattr(Backlog, "look", look)
    monkeypatch.setattr(Backlog, "forget", lambda _: seen.append(None))
    with Sockets(anywhere, anywhere, anywhere) as sockets:
        guard = Guard(sockets, count(1).__next__)
        for now in range(70):
            guard.look((50 + now) << 20, 0.0, float(now))
    assert seen == [47.0, 50.0, None, 60.0, 63.0, None]
