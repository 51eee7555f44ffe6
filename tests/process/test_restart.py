"""A coordinator that dies and comes back, seen by raw peers: same addresses, same wave, a wake-up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from dp_coordinator.handle import CoordinatorStartError, DPCoordinator
from dp_coordinator.wire.client import READY
from tests.cli.run import announced, run, running
from tests.process.test_journal import standing
from tests.transport.rig import Peer, pack, unpack
from tests.waiting import wait_until

ENGINES = 2
TOKEN = "0123456789abcdef"


class Deployment:
    """Engines and one front-end with raw sockets."""

    def __init__(self, stack: Any, front_publish: Any, back_output: Any, back_publish: Any) -> None:
        self._context = stack.enter_context(zmq.Context())
        stack.callback(self._context.destroy, linger=0)
        self._back_publish = back_publish
        self._inbox: dict[Any, Any] = {}
        self._poller = zmq.Poller()
        self.engines: list[Any] = []
        for _ in range(ENGINES):
            self.add_engine()
        self.outputs = [Peer(self._context, zmq.PUSH, back_output) for _ in range(ENGINES)]
        self.front_end = self._subscriber(front_publish)

    def add_engine(self) -> None:
        self.engines.append(self._subscriber(self._back_publish))

    def _subscriber(self, address: str) -> Any:
        peer = Peer(self._context, zmq.XSUB, address)
        self._inbox[peer.socket] = deque()
        self._poller.register(peer.socket, zmq.POLLIN)
        return peer

    def say(self, engine: Any, *, complete: Any = None, start: Any = None) -> None:
        self.outputs[engine].send(pack([engine, [], None, 0.0, None, None, complete, start, None]))

    def heard(self) -> Any:
        """What each engine is sent next."""
        return self._next(self.engines, lambda frames: False)

    def heard_after_ready(self) -> Any:
        """What each engine is sent next that is not READY; engines since vLLM 0.18 pass over a second one."""
        return self._next(self.engines, lambda frames: frames == [READY])

    def wave_announced(self) -> Any:
        """The next wave state that the front-end is told, as [wave, running]."""
        (frames,) = self._next([self.front_end], lambda frames: unpack(frames[0])[0] is not None)
        return unpack(frames[0])[1:]

    def _next(self, peers: Any, passed_over: Any) -> Any:
        inboxes = [self._inbox[peer.socket] for peer in peers]

        def all_have_one() -> Any:
            for inbox in inboxes:
                while inbox and passed_over(inbox[0]):
                    inbox.popleft()
            return all(inboxes)

        self._poll_until(all_have_one)
        return [inbox.popleft() for inbox in inboxes]

    def _poll_until(self, condition: Any) -> None:
        """Everybody polls all the time, as in vLLM: a socket that nobody polls does not subscribe again."""
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self._inbox
            for each, _ in self._poller.poll(100):
                self._inbox[each].append(each.recv_multipart())


def start(wave: int, exclude: Any = None) -> Any:
    return [[b"\x02", pack((wave, exclude))]] * ENGINES


@contextlib.contextmanager
def deployed(**options: Any) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(DPCoordinator(ENGINES, supervised=True, **options))
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        peers = Deployment(stack, coordinator.get_stats_publish_address(), back_output, back_publish)
        assert peers.heard() == [[READY]] * ENGINES
        yield coordinator, peers


def state(url: str | None) -> Any:
    with urllib.request.urlopen(f"{url}/api/v1/state", timeout=20) as answer:
        return json.load(answer)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


LOOPBACK = {f"{name}_address": "tcp://127.0.0.1:*" for name in ("front_publish", "back_output", "back_publish")}


@pytest.mark.parametrize("dialect", ["0.16", "0.28", "0.33"])
@pytest.mark.parametrize("addresses", [{}, LOOPBACK], ids=["ipc", "tcp"])
def test_it_comes_back_with_its_wave_and_wakes_everybody_twice(dialect: str, addresses: Any) -> None:
    with deployed(dialect=dialect, **addresses) as (coordinator, peers):
        peers.say(1, complete=6)
        assert peers.wave_announced() == [7, False]
        kill(coordinator.worker_pid())
        woken = peers.heard() if dialect == "0.16" else peers.heard_after_ready()  # a second READY kills old engines
        assert woken == start(7)
        assert peers.wave_announced() == [7, False]
        peers.say(0, complete=7)
        assert peers.heard() == start(8)
        assert peers.wave_announced() == [8, False]
        peers.say(0, complete=8)
        assert peers.wave_announced() == [9, False]
        peers.say(1, start=9)
        assert peers.heard() == start(9, 1)  # nothing in between


def test_rest_tells_of_the_restart_at_the_same_address() -> None:
    with deployed() as (coordinator, peers):
        before = state(coordinator.http_url)
        assert (before["restarts"], before["recovery"], before["pid"]) == (0, None, coordinator.worker_pid())
        peers.say(0, complete=4)
        peers.wave_announced()
        kill(before["pid"])
        peers.heard_after_ready()
        after = state(coordinator.http_url)
        assert (after["restarts"], after["current_wave"], after["pid"]) == (1, 5, coordinator.worker_pid())
        assert after["pid"] != before["pid"]
        assert (after["endpoints"], after["recovery"]["phase"]) == (before["endpoints"], "settling")
        assert (after["recovery"]["resumed_wave"], after["recovery"]["engines_back"]) == (5, ENGINES)
        peers.say(0, complete=5)
        peers.heard()
        wait_until(lambda: state(coordinator.http_url)["recovery"]["phase"] == "done", "the end of the recovery")


def test_it_survives_one_death_after_the_other() -> None:
    with deployed(dialect="0.28") as (coordinator, peers):
        for wave in range(1, 6):
            kill(coordinator.worker_pid())
            assert peers.heard_after_ready() == start(wave - 1)
            peers.say(0, complete=wave - 1)
            assert peers.heard() == start(wave)
        assert state(coordinator.http_url)["restarts"] == 5


def test_dying_before_all_engines_have_come_costs_nothing() -> None:
    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(DPCoordinator(ENGINES + 1, supervised=True))
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        peers = Deployment(stack, coordinator.get_stats_publish_address(), back_output, back_publish)
        wait_until(lambda: state(coordinator.http_url)["engines_subscribed"] == ENGINES, "the first engines")
        kill(coordinator.worker_pid())
        peers.add_engine()
        assert peers.heard() == [[READY]] * (ENGINES + 1)
        assert state(coordinator.http_url)["recovery"] is None


def test_the_supervisors_death_takes_the_coordinator_along() -> None:
    with deployed() as (coordinator, _):
        worker = os.pidfd_open(coordinator.worker_pid())
        coordinator.proc.kill()
        poller = zmq.Poller()
        poller.register(worker, zmq.POLLIN)
        assert poller.poll(20_000), "the worker outlived its supervisor"
        os.close(worker)


def test_nothing_is_left_behind() -> None:
    with deployed() as (coordinator, _):
        worker, folder = coordinator.worker_pid(), os.path.dirname(coordinator.get_stats_publish_address()[6:])
        assert os.path.exists(f"{folder}/journal")
    assert coordinator.proc.exitcode == 0
    assert not os.path.exists(folder)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize("content", [b"not a journal\n", b"\0" * 4096])
def test_a_damaged_journal_is_an_error_and_no_restart(tmp_path: Path, content: bytes) -> None:
    journal = tmp_path / "journal"
    journal.write_bytes(content)
    with pytest.raises(CoordinatorStartError, match="is damaged, or no journal of dp-coordinator"):
        DPCoordinator(ENGINES, supervised=True, journal=str(journal))
    assert journal.read_bytes() == content


def test_a_journal_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CoordinatorStartError, match=r"--journal .*/none/journal cannot be opened for writing"):
        DPCoordinator(ENGINES, supervised=True, journal=str(tmp_path / "none" / "journal"))


@pytest.mark.parametrize("supervised", [False, True])
def test_whoever_started_it_may_be_killed_and_no_folder_is_left(supervised: bool) -> None:
    code = (
        "import sys, time; from dp_coordinator.handle import DPCoordinator as C\n"
        f"c = C(2, supervised={supervised}, http=None, **{LOOPBACK}); print(c.proc.pid, flush=True); time.sleep(60)"
    )
    with tempfile.TemporaryDirectory() as folder:  # below tmp_path names would be too long for sockets
        command, environment = [sys.executable, "-c", code], os.environ | {"TMPDIR": folder}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert len(os.listdir(folder)) == 1
            process.kill()
        wait_until(lambda: os.listdir(folder) == [], "the folder to go")


# -- on the command line -------------------------------------------------------------------------------------------

SERVE = ("serve", "--engine-count", str(ENGINES), "--http", "127.0.0.1:0", "--dialect", "0.32")


def addresses_of(process: Any) -> Any:
    where = announced(process)
    return where["front_publish"], where["back_output"], where["back_publish"], where["dashboard"]


def test_serve_supervised_comes_back_where_it_was() -> None:
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(*SERVE, "--supervised"))
        *ends, url = first = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        peers.say(0, complete=8)
        assert peers.wave_announced() == [9, False]
        worker = state(url)["pid"]
        assert worker != process.pid
        kill(worker)
        assert peers.heard_after_ready() == start(9)
        assert addresses_of(process) == first
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_serve_with_a_journal_goes_on_in_its_next_process(tmp_path: Path) -> None:
    """What an operator does to put a new version under engines that stay."""
    journal = str(tmp_path / "journal")
    with contextlib.ExitStack() as stack:
        with running(*SERVE, "--journal", journal) as process:
            *ends, _ = first = addresses_of(process)
            peers = Deployment(stack, *ends)
            assert peers.heard() == [[READY]] * ENGINES
            peers.say(0, complete=8)
            assert peers.wave_announced() == [9, False]
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        assert standing(journal).state.current_wave == 9
        with running(*SERVE, "--journal", journal) as process:
            assert addresses_of(process) == first
            assert peers.heard_after_ready() == start(9)
        refused = run("serve", "--engine-count", "3", "--no-http", "--journal", journal)
        assert (refused.returncode, "belongs to a coordinator with --engine-count 2, not 3" in refused.stderr) == (
            2,
            True,
        )


def test_engines_whose_ready_died_with_the_coordinator_are_given_another(tmp_path: Path) -> None:
    journal = str(tmp_path / "journal")
    with running(*SERVE, "--journal", journal) as process, contextlib.ExitStack() as stack:
        *ends, _ = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        kill(process.pid)
    assert standing(journal).state.ready
    with running(*SERVE, "--journal", journal), contextlib.ExitStack() as stack:
        peers = Deployment(stack, *ends)  # as if what the first ones heard had been lost on its way
        assert peers.heard() == [[READY]] * ENGINES
        assert peers.heard_after_ready() == start(0)


def test_a_setting_that_is_wrong_is_said_once_and_not_tried_again() -> None:
    refused = run(*SERVE, "--supervised", "--journal", "/nonexistent/journal")
    assert refused.returncode == 2
    assert refused.stderr.count("/nonexistent/journal") == 1
    assert "starting it again" not in refused.stderr
