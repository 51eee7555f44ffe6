"""Real vLLM with a dense model, with engines and front-ends elsewhere, and with a start that goes wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.vllm.deployment import DENSE, HOME, MOE, Deployment, deployed, exists, free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.vllm
REPOSITORY = Path(__file__).parents[2]


def test_pip_changes_nothing_but_adds_us() -> None:
    """What `pip install dp-coordinator` would do in vLLM's own environment."""
    pip = [str(HOME / "env/bin/python"), "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-"]
    ran = subprocess.run(
        [*pip, "--force-reinstall", "--no-deps", str(REPOSITORY)], check=True, capture_output=True, text=True
    )
    (found,) = json.loads(ran.stdout)["install"]
    assert found["metadata"]["name"] == "dp-coordinator"
    wanted = [line for line in found["metadata"]["requires_dist"] if "extra ==" not in line]
    ran = subprocess.run([*pip, *wanted], check=True, capture_output=True, text=True)
    assert json.loads(ran.stdout)["install"] == []


@pytest.mark.parametrize("api_servers", ["1", "2"])
def test_a_taken_port_is_one_sentence(api_servers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = f"127.0.0.1:{listener.getsockname()[1]}"
        deployment = Deployment(MOE, ["--api-server-count", api_servers], DP_COORDINATOR_HTTP=taken)
        try:
            assert deployment.nodes[0].process.wait(180) == 2
            lines = deployment.nodes[0].log.read_text().rstrip().splitlines()
            assert f"dp-coordinator: cannot bind DP_COORDINATOR_HTTP {taken}: Address already in use" in lines[-1]
            assert not any("Traceback" in line for line in lines)
        finally:
            deployment.stop()


def test_a_dense_model_and_the_end_of_its_parent() -> None:
    with deployed(DENSE, ["--api-server-count", "1"]) as vllm:
        vllm.complete_all(6, 32)
        state = vllm.state()
        assert state["wave_coordination"] is False
        assert (state["state"], state["current_wave"]) == ("serving", 0)
        killed = vllm.kill_worker()
        vllm.complete_all(6, 32)
        wait_until(lambda: (now := vllm.state())["pid"] != killed and now["ready"], "the coordinator is back")
        requests = vllm.start(12, 450)
        wait_until(lambda: 0 < (vllm.state()["totals"]["running"] or 0) <= 12, "requests are counted")
        for request in requests:
            request.result(90)
        pids = [vllm.supervisor_pid(), vllm.state()["pid"]]
        os.kill(vllm.nodes[0].process.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(exists, pids)), "the coordinator goes with its parent")


HYBRID = ["--data-parallel-hybrid-lb", "--data-parallel-size-local", "1", "--data-parallel-start-rank"]
ONE_HERE = ["--data-parallel-size-local", "1"]
PLACES = {
    "hybrid load balancing": ([*HYBRID, "0"], [*HYBRID, "1"]),
    "external load balancing": (["--data-parallel-rank", "0"], ["--data-parallel-rank", "1"]),
    "headless rank": (
        [*ONE_HERE, "--api-server-count", "1"],
        [*ONE_HERE, "--data-parallel-start-rank", "1", "--headless"],
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_two_vllm_serve(place: Any) -> None:
    """Two `vllm serve`, one engine each, as on two machines: sockets over TCP, completions at both ends, a kill."""
    ports = ["--data-parallel-rpc-port", str(free_port())]
    with deployed(MOE, *([*arguments, *ports] for arguments in PLACES[place])) as vllm:
        fronts = [0] if place == "headless rank" else [0, 1]
        scheme = "ipc" if place == "headless rank" else "tcp"
        ends = vllm.state()["endpoints"]
        assert ends["front_publish"].startswith(scheme)
        assert ends["back_output"].startswith("tcp")
        before = vllm.paused()["current_wave"]
        with vllm.watching_waves():
            for node in fronts:
                vllm.complete_all(4, 16, node)
                killed = vllm.kill_worker()
                vllm.complete_all(2, 16, node)
                vllm.rejoined(killed)
                # The kill comes just when a wave ends. When that was lost, the engines have nothing more to say until
                # the next request.
                vllm.complete(8, node)
                vllm.recovered(killed)
        assert vllm.paused()["current_wave"] > before
