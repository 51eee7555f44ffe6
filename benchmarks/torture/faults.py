"""What happens to the deployment's processes, files, links and clock. A fault lasts as long as its context."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from benchmarks.deployment import Deployment
from benchmarks.torture.relay import Relay
from benchmarks.torture.watch import Watch
from tests.signals import stop, stopped

LONGEST_PAUSE_S = 2.0
HELD_PORT_S = 1.5
JOURNAL_RETRIED_S = 1.5
"""It is tried again every second, and an alarm is told at once."""
DECIDED_AFTER_S = 3.0
"""A supervisor that has one continued has replaced it by then, or not at all."""


class Clock:
    """The coordinator's wall clock, where there is a C compiler to make what moves it."""

    def __init__(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dp-torture-clock-")))
        self._file, library = folder / "ahead", folder / "clock.so"
        compiler = shutil.which("cc")
        self._variables: dict[str, str] = {}
        if compiler is None:
            return
        source = Path(__file__).with_name("clock.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
        self.move(0.0)
        self._variables = {"LD_PRELOAD": str(library), "TORTURE_CLOCK": str(self._file)}

    @contextmanager
    def given(self) -> Iterator[None]:
        """Processes that are started meanwhile go by this clock."""
        os.environ |= self._variables
        try:
            yield
        finally:
            for name in self._variables:
                del os.environ[name]

    def move(self, ahead_s: float) -> None:
        """Set it so many seconds ahead of the machine's."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("d", ahead_s))


@dataclass
class Scene:
    """What a fault can get at."""

    deployment: Deployment
    relay: Relay
    watch: Watch
    clock: Clock
    chance: random.Random

    @property
    def pid(self) -> int:
        """The coordinator's, by its own word: a new one writes its journal a moment later."""
        return int(self.deployment.wait_for(lambda state: True)["pid"])


Fault: TypeAlias = Callable[[Scene], Iterator[None]]


def nothing(scene: Scene) -> Iterator[None]:
    """No fault."""
    yield


def kill(scene: Scene) -> Iterator[None]:
    """The coordinator is killed, before the requests or among them."""
    with scene.watch.excused():
        struck = scene.pid
        time.sleep(scene.chance.uniform(0.0, 0.1))
        os.kill(struck, signal.SIGKILL)
        yield
        scene.deployment.wait_for(lambda state: state["pid"] != struck)


def pause(scene: Scene) -> Iterator[None]:
    """The coordinator stands still for a while, shorter than its supervisor waits."""
    with scene.watch.excused(), stopped(scene.pid):
        yield
        time.sleep(scene.chance.uniform(0.1, LONGEST_PAUSE_S))


def hang(scene: Scene) -> Iterator[None]:
    """The coordinator stands still for good: its supervisor has to see that, and has it go on, or replaces it."""
    with scene.watch.excused():
        struck = scene.pid
        stop(struck)
        yield
        scene.deployment.wait_for(lambda state: True)
        until = time.monotonic() + DECIDED_AFTER_S
        scene.deployment.wait_for(lambda state: state["pid"] != struck or time.monotonic() > until)


def pause_a_peer(scene: Scene) -> Iterator[None]:
    """An engine or a front-end stands still for a while."""
    with stopped(scene.chance.choice([*scene.deployment.engines, *scene.deployment.front_ends]).pid):
        yield
        time.sleep(scene.chance.uniform(0.1, LONGEST_PAUSE_S))


def disk_full(scene: Scene) -> Iterator[None]:
    """Nothing more can be written to any file: not to the journal, and not to the recording.

    What happens before the journal is written again is not promised (docs/guarantees.md): the next fault comes later.
    """
    with _limited(scene.pid, resource.RLIMIT_FSIZE, 0):
        yield
        time.sleep(0.5)
    time.sleep(JOURNAL_RETRIED_S)
    scene.deployment.wait_for(lambda state: "journal_failed" not in scene.deployment.alarms())


def no_descriptors(scene: Scene) -> Iterator[None]:
    """There is no descriptor left in the process, and connections keep coming."""
    pid = scene.pid
    with scene.watch.excused(), ExitStack() as stack:
        in_use = max((int(name) for name in os.listdir(f"/proc/{pid}/fd")), default=0) + 1
        stack.enter_context(_limited(pid, resource.RLIMIT_NOFILE, in_use))
        for address in _addresses(scene.deployment) * 5:
            with suppress(OSError):
                stack.enter_context(socket.create_connection(address, 2))
        yield
        time.sleep(0.5)


def clock_jumps(scene: Scene) -> Iterator[None]:
    """The wall clock is set forward or back, and then right again."""
    scene.clock.move(scene.chance.choice([-1.0, 1.0]) * scene.chance.choice([2, 60, 86_400, 30 * 365 * 86_400]))
    try:
        yield
        time.sleep(0.3)
    finally:
        scene.clock.move(0.0)


def port_taken(scene: Scene) -> Iterator[None]:
    """The coordinator dies, and while it is away somebody else takes one of its ports for a while."""
    with scene.watch.excused():
        struck, supervisor = scene.pid, scene.deployment.coordinator.proc.pid
        with stopped(supervisor), ExitStack() as stack:
            os.kill(struck, signal.SIGKILL)
            taken = stack.enter_context(_squatter(scene.chance.choice(_addresses(scene.deployment))))
            keep = stack.pop_all()
        with keep:
            assert taken is not None
            yield
            time.sleep(HELD_PORT_S)
        scene.deployment.wait_for(lambda state: state["pid"] != struck)


def links_cut(scene: Scene) -> Iterator[None]:
    """Every link between the coordinator and its peers is reset, and for a while there is no new one."""
    with scene.relay.cut():
        yield
        time.sleep(scene.chance.uniform(0.0, LONGEST_PAUSE_S))


def links_held_up(scene: Scene) -> Iterator[None]:
    """Nothing goes through the links for a while."""
    with scene.relay.held_up():
        yield
        time.sleep(scene.chance.uniform(0.1, LONGEST_PAUSE_S))


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        nothing,
        kill,
        pause,
        hang,
        pause_a_peer,
        disk_full,
        no_descriptors,
        clock_jumps,
        port_taken,
        links_cut,
        links_held_up,
    )
}


@contextmanager
def _limited(pid: int, what: int, most: int) -> Iterator[None]:
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (most, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # the watch says that it has ended
            resource.prlimit(pid, what, before)


def _addresses(deployment: Deployment) -> list[tuple[str, int]]:
    coordinator = deployment.coordinator
    ends = (*coordinator.get_engine_socket_addresses(), coordinator.get_stats_publish_address(), coordinator.http_url)
    found = [urlsplit(end or "") for end in ends]
    return [(end.hostname or "", end.port or 0) for end in found]


@contextmanager
def _squatter(address: tuple[str, int]) -> Iterator[socket.socket]:
    deadline = time.monotonic() + 5
    while True:
        try:
            server = socket.create_server(address)
            break
        except OSError:  # the one that was killed is still about to go
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    with server:
        yield server
