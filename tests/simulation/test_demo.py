"""The demo as a person runs it: a process of its own, watched from outside."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPException
from typing import Any

import pytest

from dp_coordinator.processes import title_of
from dp_coordinator.settings import SettingsError, to_arguments
from dp_coordinator.simulation.engine import run_engine
from dp_coordinator.simulation.options import DemoOptions, EngineOptions, FrontEndOptions

TIMEOUT = 30.0


class Demo:
    """A running demo, what it prints and what its REST interface says."""

    def __init__(self, **options: Any) -> None:
        settings = DemoOptions(**{"http": "127.0.0.1:0", "engines": 3, "front_ends": 1, "step_ms": 2.0, **options})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dp_coordinator", "demo", *to_arguments(settings)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._printed = b""
        self.pids: dict[str, int] = {}
        self.url = ""

    def start(self) -> Demo:
        self.url = self.line(r"dashboard: (http://127\.0\.0\.1:\d+)")[1]
        while "front-end 0" not in self.pids:
            found = self.line(r"(supervisor|coordinator|engine \d|front-end \d): pid (\d+)")
            self.pids[found[1]] = int(found[2])
        return self

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for the next line that matches."""
        while True:
            text, newline, rest = self._printed.partition(b"\n")
            if not newline:
                self._printed += self._read(pattern)
                continue
            self._printed = rest
            if (found := re.search(pattern, text.decode())) is not None:
                return found

    def _read(self, pattern: str) -> bytes:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        assert select.select([descriptor], [], [], TIMEOUT)[0], f"no line like {pattern}"
        printed = os.read(descriptor, 65536)
        assert printed, f"the demo ended before a line like {pattern}"
        return printed

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def until(self, done: Callable[[Any], object], path: str = "/api/v1/state") -> Any:
        deadline = time.monotonic() + TIMEOUT
        while not done(answer := self.get(path)):
            assert time.monotonic() < deadline, answer
        return answer

    def until_back(self, done: Callable[[Any], object]) -> Any:
        """As `until`, of a page that may not be there yet."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                return self.until(done)
            except (OSError, HTTPException):
                assert time.monotonic() < deadline, "the page does not come back"
                time.sleep(0.02)

    def all_gone(self) -> bool:
        return not any(_alive(pid) for pid in self.pids.values())

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=TIMEOUT)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def demo() -> Iterator[Callable[..., Demo]]:
    demos: list[Demo] = []

    def start(**options: Any) -> Demo:
        demos.append(Demo(**options))
        return demos[-1]

    yield start
    for each in demos:
        each.close()


def test_traffic_makes_waves_and_a_killed_engine_comes_back(demo: Callable[..., Demo]) -> None:
    running = demo(respawn_after_s=0.5, name="moe-test").start()
    running.until(lambda state: state["engines_running"] and state["totals"]["running"])
    assert running.get("/api/v1/state")["name"] == "moe-test"
    for name in ("engine 0", "engine 1", "engine 2", "front-end 0"):
        pid = running.pids[name]
        assert title_of(pid) == f"simulated {name}"
    named = [row["peer"]["name"] for row in running.get("/api/v1/engines")["engines"] if row["peer"] is not None]
    assert all(re.fullmatch(r"pid \d+ simulated engine \d", name) for name in named)
    killed = running.pids["engine 1"]
    os.kill(killed, signal.SIGKILL)
    running.until(lambda state: state["engines_subscribed"] == 2)
    running.line("engine 1 was killed by signal 9; it starts again in 0.5 s")
    running.pids["engine 1"] = int(running.line(r"engine 1 started again, pid (\d+)")[1])
    running.until(lambda state: state["engines_subscribed"] == 3)
    wave = running.get("/api/v1/state")["current_wave"]
    running.until(lambda state: state["current_wave"] > wave and not state["engines_running"])
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(TIMEOUT) == 0
    assert running.all_gone()


def test_without_traffic_a_manual_start_wakes_all_ranks(demo: Callable[..., Demo]) -> None:
    running = demo(no_traffic=True, dialect="0.28").start()
    running.until(lambda state: state["engines_subscribed"] == 3 and state["front_ends"] == 1)
    body = json.dumps({"reason": "to see them wake", "expected_wave": 0}).encode()
    request = urllib.request.Request(running.url + "/api/v1/waves", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        assert answer.status == 202
    running.until(lambda state: state["current_wave"] == 1 and not state["engines_running"])


def test_no_orphans_when_the_demo_is_killed(demo: Callable[..., Demo]) -> None:
    running = demo(no_traffic=True).start()
    running.until(lambda state: state["engines_subscribed"] == 3)
    running.process.kill()
    running.process.wait(TIMEOUT)
    deadline = time.monotonic() + TIMEOUT
    for pid in running.pids.values():
        with closing(PidFd(pid)) as watched:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([watched], [], [], left)[0], f"{pid} of {running.pids} outlives the demo"


class PidFd:
    """A descriptor that becomes readable when a process ends; readable at once for one that is gone."""

    def __init__(self, pid: int) -> None:
        try:
            self._fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._fd = os.open(os.devnull, os.O_RDONLY)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


def test_a_port_that_is_taken_is_said_in_words(demo: Callable[..., Demo]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        running = demo(http=address)
        _, complaint = running.process.communicate(timeout=TIMEOUT)
    assert running.process.returncode == 2
    assert f"--http {address}" in complaint.decode()
    assert "Choose another address with --http" in complaint.decode()
    assert b"Traceback" not in complaint


def test_the_end_of_the_coordinator_ends_the_demo(demo: Callable[..., Demo]) -> None:
    running = demo(no_traffic=True).start()
    os.kill(running.pids["coordinator"], signal.SIGKILL)
    _, complaint = running.process.communicate(timeout=TIMEOUT)
    assert running.process.returncode == 1
    assert "the coordinator ended with exit code -9" in complaint.decode()
    assert running.all_gone()


def test_a_supervised_coordinator_may_be_killed_and_the_demo_goes_on(demo: Callable[..., Demo]) -> None:
    running = demo(supervised=True).start()
    before = running.until(lambda state: state["engines_running"] and state["totals"]["running"])
    os.kill(running.pids["coordinator"], signal.SIGKILL)
    running.pids["coordinator"] = int(running.line(r"coordinator started again, pid (\d+)")[1])
    back = running.until_back(lambda state: state["recovery"]["phase"] == "done" and state["front_ends"] == 1)
    assert (back["pid"], back["restarts"]) == (running.pids["coordinator"], 1)
    assert back["current_wave"] > before["current_wave"]
    running.until(lambda state: state["engines_running"] and state["current_wave"] > back["current_wave"])
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(TIMEOUT) == 0
    assert running.all_gone()


def engine_options(**changes: Any) -> EngineOptions:
    addresses = dict.fromkeys(("back_publish_address", "back_output_address"), "tcp://127.0.0.1:9")
    values = {"index": 0, "engine_count": 2, "request_address": "tcp://127.0.0.1:*", "collective": "127.0.0.1:9"}
    return EngineOptions(**{**addresses, **values, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dialect": "1"}, "is not a vLLM version"),
        ({"request_address": "tcp://nowhere"}, "cannot bind --request-address tcp://nowhere"),
        ({"collective": "here"}, "is not HOST:PORT"),
        ({"collective": "192.0.2.1:5600", "host_collective": True}, "192.0.2.1"),
    ],
)
def test_an_engine_says_why_it_cannot_start(
    caplog: pytest.LogCaptureFixture, changes: dict[str, Any], said: str
) -> None:
    assert run_engine(engine_options(**changes)) == 1
    assert said in caplog.text


def test_an_engine_needs_an_index_below_their_number() -> None:
    with pytest.raises(SettingsError, match="--index must be 0 to 1, not 2"):
        run_engine(engine_options(index=2))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("engine", engine_options(parent_pid=1)),
        ("front-end", FrontEndOptions(front_publish_address="ipc:///x", engine_address=("ipc:///y",), parent_pid=1)),
    ],
)
def test_a_process_whose_parent_is_gone_ends(kind: str, options: Any) -> None:
    command = [sys.executable, "-m", "dp_coordinator", kind, *to_arguments(options)]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, timeout=TIMEOUT, check=False).returncode == 0
