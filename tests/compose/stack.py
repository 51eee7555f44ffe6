"""The compose stack under a project name and ports of its own, brought up and taken down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest

from benchmarks.ports import free_ports

ROOT = Path(__file__).parents[2]
OPEN = build_opener(ProxyHandler({})).open
BUILD_TIMEOUT = 900


def compose_command() -> list[str]:
    """`docker compose`, else `docker-compose`; fails the test when there is no Docker engine to be had."""
    if shutil.which("docker") is None or _code("docker", "info") != 0:
        pytest.fail("no Docker engine: start one, or set DOCKER_HOST", pytrace=False)
    if _code("docker", "compose", "version") == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose") is not None:
        return ["docker-compose"]
    pytest.fail("neither `docker compose` nor `docker-compose` is installed", pytrace=False)


def _code(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode


class Stack:
    """A running stack."""

    def __init__(self) -> None:
        dashboard, prometheus = free_ports(2)
        self.url = f"http://127.0.0.1:{dashboard}"
        self.prometheus_url = f"http://127.0.0.1:{prometheus}"
        self._command = [*compose_command(), "-p", f"dp-coordinator-test-{os.getpid()}"]
        self._environment = {**os.environ, "DASHBOARD_PORT": str(dashboard), "PROMETHEUS_PORT": str(prometheus)}

    def compose(self, *arguments: str, timeout: float = 120) -> str:
        """What a compose command prints; fails the test with its output when it fails."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, (
            f"compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-8000:]}"
        )
        return done.stdout

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.compose("ps", "-q", service).split()[-1]

    def inspect(self, service: str) -> Any:
        """What `docker inspect` says of a service's container."""
        return json.loads(docker("inspect", self.container(service)))[0]

    def get(self, path: str) -> Any:
        """The JSON that REST answers."""
        with OPEN(f"{self.url}{path}", timeout=10) as answer:
            return json.load(answer)

    def metric(self, query: str) -> list[float]:
        """The values that prometheus has for a query, at once."""
        with OPEN(f"{self.prometheus_url}/api/v1/query?query={query}", timeout=10) as answer:
            return [float(found["value"][1]) for found in json.load(answer)["data"]["result"]]


def docker(*arguments: str) -> str:
    """What a docker command prints. Raises `CalledProcessError`."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


@contextmanager
def running_stack() -> Iterator[Stack]:
    """The stack from build to removal; its logs are printed, so a failure shows them."""
    stack = Stack()
    try:
        stack.compose("up", "-d", "--build", timeout=BUILD_TIMEOUT)
        yield stack
    finally:
        print(stack.compose("logs", "--no-color", "--tail", "40"))
        stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
