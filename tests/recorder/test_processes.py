"""Recordings of real coordinators: of a deployment, of one killed at any moment, of one whose disk gets full."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from dp_coordinator.handle import CoordinatorStartError, DPCoordinator
from dp_coordinator.recorder import chunks
from dp_coordinator.wire.client import READY
from tests.cli.run import run, running
from tests.process.test_restart import Deployment
from tests.recorder.recorded_core import CHECKPOINT, changed, files, replayed, whole
from tests.transport.rig import Peer, pack
from tests.waiting import wait_until

ENGINES = 2


class Peers:
    """Engines and a front-end with raw sockets."""

    def __init__(self, stack: Any, coordinator: Any) -> None:
        context = stack.enter_context(zmq.Context())
        stack.callback(context.destroy, linger=0)
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        self.front_end = Peer(context, zmq.XSUB, coordinator.get_stats_publish_address())
        self.engines = [Peer(context, zmq.XSUB, back_publish) for _ in range(ENGINES)]
        for engine in self.engines:
            assert engine.receive() == [READY]
        self.output = Peer(context, zmq.PUSH, back_output)
        self.front_end.receive_load()  # it hears what follows

    def report(self, step: int, engine: int = 0, **more: Any) -> None:
        stats = {"num_waiting_reqs": step % 7, "num_running_reqs": step % 5, "step_counter": step, "current_wave": 0}
        self.output.send(pack([engine, [], stats | more, 0.0]))

    def complete(self, wave: int) -> None:
        """End a wave, and hear of it."""
        self.output.send(pack([0, [], None, 0.0, None, None, wave]))
        while self.front_end.receive_wave_state()[0] <= wave:
            pass


@contextmanager
def deployed(folder: Path, **options: Any) -> Iterator[Any]:
    with ExitStack() as stack:
        coordinator = stack.enter_context(DPCoordinator(ENGINES, record=str(folder), **options))
        yield coordinator, Peers(stack, coordinator)


def get(url: str | None, path: str, token: str | None = None) -> Any:
    request = urllib.request.Request(f"{url}{path}", headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def all_reported(state: Any) -> bool:
    return bool(state["totals"]["running"]) and all(engine["age_s"] is not None for engine in state["engines"])


def test_a_simulated_deployment_is_replayed_without_a_difference(tmp_path: Path) -> None:
    arguments = ("demo", "--http", "127.0.0.1:0", "--engines", "3", "--step-ms", "5", "--record", str(tmp_path / "r"))
    with running(*arguments) as demo:
        assert demo.stdout is not None
        url = demo.stdout.readline().split()[1]
        wait_until(lambda: all_reported(json.loads(get(url, "/api/v1/state"))), "load, and a report of every engine")
    assert demo.returncode == 0
    (file,) = files(tmp_path / "r")
    told = json.loads(run("replay", str(file), "--json").stdout)
    assert told["difference"] is None
    assert told["endings"][0]["problem"] is None
    assert told["reports"] >= 3
    assert told["effects"]["BroadcastStartWave"] >= 1


def test_everything_that_was_taken_in_is_in_the_recording(tmp_path: Path) -> None:
    noise = random.Random(12)  # seeded: of enough chance bytes, some are a well-formed wave message
    with deployed(tmp_path / "r", http="127.0.0.1:0") as (coordinator, peers):
        for step in range(3000):
            peers.output.socket.send(pack([step % 3, [], {"step_counter": step, "num_running_reqs": 3}, 0.0]))
            if step % 10 == 0:  # who sends much more of it is cut off
                peers.output.socket.send(noise.randbytes(noise.randrange(30)))
        peers.complete(4)
        state = json.loads(get(coordinator.http_url, "/api/v1/state"))
    (file,) = files(tmp_path / "r")
    summary = replayed(file)
    assert whole(summary)
    assert (summary.reports, summary.waves, state["current_wave"]) == (3000, 1, 5)


def test_killed_at_any_moment_it_leaves_what_can_be_replayed(tmp_path: Path) -> None:
    chance, cut = random.Random(), 0
    for number in range(5):
        folder = tmp_path / str(number)
        with deployed(folder, http=None) as (coordinator, peers):
            killer = threading.Timer(chance.uniform(0.05, 0.9), coordinator.proc.kill)
            peers.output.socket.setsockopt(zmq.SNDTIMEO, 0)
            killer.start()
            step = 0
            while coordinator.proc.is_alive():
                try:
                    peers.report(step, step % ENGINES, kv_cache_usage=chance.random())
                except zmq.Again:
                    peers.output.socket.poll(10, zmq.POLLOUT)
                step += 1
            killer.join()
            assert coordinator.proc.exitcode == -signal.SIGKILL
        (file,) = files(folder)
        summary = replayed(file)
        assert summary.difference is None
        assert not summary.endings[0].damaged
        assert "it ends" in (summary.endings[0].problem or "")
        cut += summary.reports
    assert cut > 0


def test_a_coordinator_that_comes_back_records_its_next_life(tmp_path: Path) -> None:
    with ExitStack() as stack:
        coordinator = stack.enter_context(DPCoordinator(ENGINES, record=str(tmp_path / "r"), supervised=True))
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        peers = Deployment(stack, coordinator.get_stats_publish_address(), back_output, back_publish)
        assert peers.heard() == [[READY]] * ENGINES
        peers.say(1, complete=6)
        assert peers.wave_announced() == [7, False]
        wait_until(lambda: replayed(*files(tmp_path / "r")).waves == 1, "the wave on the disk")
        os.kill(coordinator.worker_pid(), signal.SIGKILL)
        assert peers.heard_after_ready() == [[b"\x02", pack((7, None))]] * ENGINES
    first, second = files(tmp_path / "r")
    together = replayed(first, second)
    assert (together.difference, together.gaps, together.waves) == (None, 0, 1)
    assert [ending.problem is None for ending in together.endings] == [False, True]
    assert replayed(second).effects["BroadcastStartWave"] == 1


def test_a_disk_that_gets_full_stops_the_recording_and_nothing_else(tmp_path: Path) -> None:
    with deployed(tmp_path / "r", http="127.0.0.1:0") as (coordinator, peers):

        def events(kind: str) -> Any:
            return json.loads(get(coordinator.http_url, f"/api/v1/events?kind={kind}"))["events"]

        pid = coordinator.proc.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (files(tmp_path / "r")[0].stat().st_size + 60, hard))
        peers.complete(1)
        wait_until(lambda: events("recording_failed"), "the failure")
        assert str(tmp_path / "r") in events("recording_failed")[0]["fields"]["detail"]
        peers.complete(2)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        step = iter(range(10**9))

        def works_again() -> Any:
            peers.report(next(step))
            return events("recording_works_again")

        wait_until(works_again, "the recording")
        peers.complete(3)
        assert len(events("recording_failed")) == 1
    first, second = files(tmp_path / "r")
    assert replayed(first).difference is None
    assert (whole(replayed(second)), replayed(second).waves) == (True, 1)
    assert replayed(first, second).gaps == 1


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CoordinatorStartError, match=r"--record .*/no/such cannot be written: No such file"):
        DPCoordinator(1, http=None, record=str(tmp_path / "no" / "such"))
    refused = run("serve", "--engine-count", "1", "--no-http", "--record", str(tmp_path), "--record-max-mb", "2")
    assert (refused.returncode, "--record-max-mb: 2 is out of bounds: use 8 to 1048576" in refused.stderr) == (2, True)


# -- the download --------------------------------------------------------------------------------------------------

TOKEN = "a-secret-that-is-nowhere-else"


def test_the_download_needs_the_token_and_has_it_nowhere(tmp_path: Path) -> None:
    with deployed(tmp_path / "r", http="127.0.0.1:0", token=TOKEN) as (coordinator, peers):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(coordinator.http_url, "/api/v1/recording")
        file = tmp_path / "download.dprec"
        for wave in range(2, 6):  # the newest is in it at once
            peers.complete(wave)
            file.write_bytes(get(coordinator.http_url, "/api/v1/recording", TOKEN))
            assert replayed(file).waves == wave - 1
    assert whole(replayed(file))
    for written in (file, *files(tmp_path / "r")):
        assert TOKEN.encode() not in unpacked(written)


def unpacked(file: Path) -> Any:
    return b"".join(chunk.body for chunk in chunks.read(file.read_bytes()))


def test_without_a_recording_the_download_says_how_to_have_one() -> None:
    with DPCoordinator(1, http="127.0.0.1:0") as coordinator:
        with pytest.raises(urllib.error.HTTPError, match="409") as refused:
            get(coordinator.http_url, "/api/v1/recording")
        problem = json.loads(refused.value.read())
    assert problem["type"] == "../../problems/not-recording"
    assert "--record DIR" in problem["detail"]


# -- on the command line -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("recorded")
    with deployed(folder / "r", http=None) as (_, peers):
        peers.complete(0)
    return folder / "r"


def test_replay_tells_what_was_replayed(recorded: Any) -> None:
    done = run("replay", str(recorded))
    assert (done.returncode, done.stderr) == (0, "")
    assert "no difference: the core did again what it did then, byte for byte" in done.stdout
    assert "waves     1 completed" in done.stdout


def test_replay_of_a_file_that_was_cut_off_goes_up_to_there(recorded: Any, tmp_path: Path) -> None:
    (file,) = files(recorded)
    cut = tmp_path / "cut.dprec"
    cut.write_bytes(file.read_bytes()[:-40])
    done = run("replay", str(cut))
    assert done.returncode == 0
    assert "no difference" in done.stdout
    assert "cut.dprec: it ends" in done.stderr
    assert "replayed up to there" in done.stderr


def test_replay_of_a_damaged_file_is_no_success(recorded: Any, tmp_path: Path) -> None:
    (file,) = files(recorded)
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    bad = tmp_path / "bad.dprec"
    bad.write_bytes(data)
    done = run("replay", str(bad))
    assert done.returncode == 2
    assert "wrong checksum" in done.stderr or "damaged beginning" in done.stderr


def test_replay_names_the_first_difference(recorded: Any, tmp_path: Path) -> None:
    def another_wave(chunk: chunks.Chunk) -> Any:
        if chunk.kind != CHECKPOINT:
            return [chunk]
        return [replace(chunk, body=chunk.body.replace(pack("current_wave") + b"\x00", pack("current_wave") + b"\x05"))]

    (file,) = files(recorded)
    done = run("replay", str(changed(file, tmp_path / "other.dprec", another_wave)))
    assert done.returncode == 1
    assert "DIFFERENT from here on:" in done.stdout
    assert "expected  effect 0" in done.stdout
    assert "got       effect 0" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "the following arguments are required: FILE"),
        (("/nowhere/at.all",), "'/nowhere/at.all' is not there"),
        (("/dev/null",), "/dev/null: cannot be read: it is no regular file"),
        ((__file__,), "it is no recording of dp-coordinator"),
        ((os.path.dirname(__file__),), "there is no recording in"),
    ],
)
def test_replay_of_what_is_no_recording(arguments: Any, said: str) -> None:
    refused = run("replay", *arguments)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
