"""Memory where there are many engines, idle or with what they queued up while there was no coordinator."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from benchmarks.ports import free_ports
from dp_coordinator.transport import Sockets
from tests.transport.rig import PATIENCE, Peer, pack
from tests.waiting import wait_until

ENGINES, REPORTS, BYTES = 256, 200, 4000


@pytest.mark.parametrize(
    ("engines", "reports"), [(1, 200), (81, 200), (82, 199), (256, 64), (1024, 16), (2048, 8), (16_384, 8)]
)
def test_the_more_engines_are_expected_the_less_is_held_of_each(engines: int, reports: int) -> None:
    anywhere = "tcp://127.0.0.1:0"
    with Sockets(anywhere, anywhere, anywhere, engines=engines) as sockets:
        held = [socket.get(zmq.RCVHWM) for socket in (sockets.front_publish, sockets.back_output, sockets.back_publish)]
    assert held == [4, reports, 4]


def test_what_many_engines_have_queued_is_all_taken_and_never_held_at_once(tmp_path: Path) -> None:
    """Without marks for so many their 200 MB are held at once, take more than twice as much, and end it."""
    (port,) = free_ports(1)
    told = tmp_path / "endpoints.json"
    command = [sys.executable, "-m", "dp_coordinator", "serve", f"--engine-count={ENGINES}", "--memory-limit=200"]
    command += [f"--back-output-address=tcp://127.0.0.1:{port}", "--http=127.0.0.1:0", f"--endpoints-file={told}"]
    report = {"num_waiting_reqs": 1, "num_running_reqs": 1, "step_counter": 1, "current_wave": 0, "more": "m" * BYTES}
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        for rank in range(ENGINES):
            engine = Peer(context, zmq.PUSH, f"tcp://127.0.0.1:{port}")
            stack.callback(engine.close)
            for _ in range(REPORTS):
                engine.send(pack([rank, [], report]))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: told.exists() or process.poll() is not None, "its addresses")
            metrics = f"{json.loads(told.read_text())['http_url']}/metrics"

            def taken() -> bool:
                assert process.poll() is None, "it has ended"
                with urllib.request.urlopen(metrics, timeout=PATIENCE) as answer:
                    text = answer.read().decode()
                return f'frames_total{{kind="stats",verdict="accepted"}} {ENGINES * REPORTS}.0\n' in text

            wait_until(taken, "every report")
        finally:
            process.terminate()
            said = process.communicate()[1]
        assert "cut off" not in said


def test_the_limit_of_memory_leaves_room_for_so_many_engines(tmp_path: Path) -> None:
    """Idle ones take nothing of it; 4,096 came to 900 MB of data, of which 365 were used."""
    few, many = (most_data(tmp_path / f"{engines}.json", engines) for engines in (1, 1025))
    assert (many - few) >> 20 == pytest.approx(600, abs=16)


def most_data(told: Path, engines: int) -> int:
    """Bytes of data that the kernel lets a coordinator of so many engines have."""
    command = [sys.executable, "-m", "dp_coordinator", "serve", "--no-http", f"--endpoints-file={told}"]
    with subprocess.Popen([*command, f"--engine-count={engines}"], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: told.exists() or process.poll() is not None, "its addresses")
            return resource.prlimit(process.pid, resource.RLIMIT_DATA)[0]
        finally:
            process.terminate()
