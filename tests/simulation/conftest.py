"""A coordinator with simulated engines and front-ends, all real processes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dp_coordinator.client import FrontendClient
from dp_coordinator.handle import DPCoordinator
from dp_coordinator.settings import to_arguments
from dp_coordinator.simulation.options import EngineOptions, FrontEndOptions

Process = subprocess.Popen[str]
TIMEOUT = 30.0
"""Seconds after which something that should have happened has not."""


def spawn(kind: str, options: Any) -> Process:
    command = [sys.executable, "-W", "error", "-m", "dp_coordinator", kind, *to_arguments(options)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


_deployments = itertools.count(1)


def own_address() -> str:
    """A loopback address of this process and deployment alone: no free port to be found, which others could take."""
    process, deployment = os.getpid(), next(_deployments)
    return f"127.{1 + process % 251}.{process // 251 % 256}.{deployment % 256}:4700"


class Deployment:
    """Engines of one step a millisecond behind a coordinator; rank 0 hosts the collective, as in compose."""

    def __init__(self, directory: Path, engines: int, dialect: str, step_ms: float = 1.0, **coordinator: Any) -> None:
        """`coordinator`: what it is told beyond its defaults here."""
        settings: dict[str, Any] = {"http": None, "min_stats_update_interval_ms": 20} | coordinator
        self.coordinator = DPCoordinator(engines, dialect=dialect, **settings)
        back_publish, back_output = self.coordinator.get_engine_socket_addresses()
        self.front = self.coordinator.get_stats_publish_address()
        self.dialect = dialect
        self.addresses = tuple(f"ipc://{directory}/engine-{index}" for index in range(engines))
        collective = own_address()
        self.options = [
            EngineOptions(
                index=index,
                engine_count=engines,
                back_publish_address=back_publish,
                back_output_address=back_output,
                request_address=address,
                collective=collective,
                host_collective=index == 0,
                dialect=dialect,
                step_ms=step_ms,
            )
            for index, address in enumerate(self.addresses)
        ]
        self.engines = [spawn("engine", options) for options in self.options]
        self.front_ends: list[Process] = []
        self.watcher = FrontendClient(self.front, dialect=dialect, engine_count=engines)

    def front_end(self, requests: int, index: int = 0, count: int = 1, **changes: Any) -> Process:
        """Start a front-end with bursts and pauses of a few hundred milliseconds."""
        options = FrontEndOptions(
            front_publish_address=self.front,
            engine_address=self.addresses,
            index=index,
            front_end_count=count,
            dialect=self.dialect,
            rate=200.0,
            cycle_s=0.5,
            burst_min_s=0.1,
            burst_max_s=0.2,
            min_steps=1,
            max_steps=60,
            requests=requests,
            request_timeout_s=0,
        )
        self.front_ends.append(spawn("front-end", replace(options, **changes)))
        return self.front_ends[-1]

    def watch_until(self, done: Callable[[FrontendClient], object]) -> None:
        """Take in what the coordinator publishes until something is so."""
        deadline = time.monotonic() + TIMEOUT
        while not done(self.watcher):
            self.watcher.wait_update(timeout=TIMEOUT)
            seen = self.watcher
            assert time.monotonic() < deadline, f"wave {seen.current_wave}, {seen.engines_running=}, {seen.load}"

    def load_of(self, engine: int) -> int:
        """Requests that wait or run at an engine, as last published."""
        load = self.watcher.load
        return 0 if load is None else load.engines[engine].waiting + load.engines[engine].running

    def kill(self, engine: int) -> None:
        self.engines[engine].kill()
        self.engines[engine].communicate()

    def respawn(self, engine: int) -> None:
        self.engines[engine] = spawn("engine", self.options[engine])

    def close(self) -> None:
        self.watcher.close()
        processes = [*self.engines, *self.front_ends]
        for process in processes:
            process.terminate()
        codes = []
        for process in processes:
            process.communicate(timeout=TIMEOUT)
            codes.append(process.returncode)
        self.coordinator.close()
        assert set(codes) <= {0, -9}, f"engines and front-ends ended with {codes}"


def totals(front_end: Process) -> dict[str, int]:
    """Wait for a front-end to end and give its account."""
    text, _ = front_end.communicate(timeout=TIMEOUT)
    assert front_end.returncode == 0
    account: dict[str, int] = json.loads(text)
    return account


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    deployments: list[Deployment] = []

    def start(engines: int, dialect: str, **more: Any) -> Deployment:
        deployments.append(Deployment(tmp_path, engines, dialect, **more))
        return deployments[-1]

    yield start
    for deployment in deployments:
        deployment.close()


@pytest.fixture
def account() -> Callable[[Process], dict[str, int]]:
    return totals
