"""`vllm serve` with two engines on our coordinator, one API server and two. Run by `make test-vllm`."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import wait
from typing import Any

import pytest

from tests.vllm.deployment import HOME, HTTP, MOE, deployed, exists, resident_mb
from tests.waiting import wait_until

pytestmark = pytest.mark.vllm
KILLS_UNDER_TRAFFIC = 8
KILLS_WHILE_PAUSED = 4


@pytest.fixture(scope="module", params=[1, 2], ids=["one API server", "two API servers"])
def vllm(request: pytest.FixtureRequest) -> Iterator[Any]:
    with deployed(MOE, ["--api-server-count", str(request.param)]) as deployment:
        deployment.api_servers = request.param
        yield deployment


@pytest.fixture(autouse=True)
def logs_when_it_fails(vllm: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(vllm.logs())


def test_small_beside_vllm(vllm: Any) -> None:
    state = vllm.state()
    worker, supervisor = resident_mb(state["pid"]), resident_mb(vllm.supervisor_pid())
    print(f"\ncoordinator {worker:.0f} MB, its supervisor {supervisor:.0f} MB")
    assert worker <= 80
    assert supervisor <= 20
    with open(f"/proc/{state['pid']}/maps") as maps:
        assert "libtorch" not in maps.read()  # vLLM's environment preloads libgomp out of torch's folder, no more


def test_it_is_what_vllm_has_installed(vllm: Any) -> None:
    state = vllm.state()
    assert state["dialect"].startswith("0.")
    assert state["engine_count"] == state["engines_subscribed"] == 2
    assert state["wave_coordination"] is True
    assert state["endpoints"]["front_publish"].startswith("ipc://")
    assert state["front_ends"] == vllm.api_servers


def test_completions_and_waves(vllm: Any) -> None:
    before = vllm.paused()["current_wave"]
    for round_number in range(3):
        vllm.complete_all(6, 16)
        after = vllm.paused()["current_wave"]
        assert after > before, f"no wave ended in round {round_number}"
        before = after
    vllm.complete(8)  # a lone one, after a pause
    assert vllm.paused()["current_wave"] > before


def test_counts_are_those_of_vllms_own_metrics(vllm: Any) -> None:
    compared = []

    def counts() -> Any:
        return {engine["index"]: (engine["waiting"], engine["running"]) for engine in vllm.get("engines")["engines"]}

    def agree() -> Any:
        """Ours stand before and after vLLM told its own: on a busy machine its metrics take seconds."""
        before, theirs, after = counts(), vllm.counts(), counts()
        compared.append((before, theirs, after))
        return before == theirs == after and len(theirs) == 2 and all(map(sum, theirs.values()))

    found = False
    for _ in range(8):
        requests = vllm.start(24, 450)  # more than run at once, so that some are waiting too
        while not found and wait(requests, 0.1).not_done:
            found = agree()
        for request in requests:
            request.result(120)
        if found:
            break
    assert found, "REST and vLLM's metrics never named the same counts:\n" + "\n".join(map(str, compared))
    vllm.paused()
    assert vllm.state()["totals"] == {"waiting": 0, "running": 0, "left_out": None}


def test_a_start_by_hand_wakes_real_ranks(vllm: Any) -> None:
    before = vllm.paused()["current_wave"]
    answer = HTTP.post(f"{vllm.url}/api/v1/waves", json={"reason": "a test"}, timeout=10)
    assert answer.status_code == 202, answer.text
    action = wait_until(
        lambda: (found := vllm.get(f"actions/{answer.json()['id']}"))["state"] != "asked" and found,
        "the action ends",
    )
    assert action["state"] == "observed", action["summary"]
    assert vllm.paused()["current_wave"] == before + 1


def test_the_coordinator_is_killed_while_the_engines_are_paused(vllm: Any) -> None:
    took, settled = [], []
    with vllm.watching_waves():
        for _ in range(KILLS_WHILE_PAUSED):
            vllm.paused()
            killed = vllm.kill_worker()
            began = time.monotonic()
            request = vllm.start(1, 8)[0]  # into the gap
            vllm.rejoined(killed)
            took.append(time.monotonic() - began)
            vllm.recovered(killed)
            settled.append(time.monotonic() - began)
            assert request.result(30) == 8
            assert vllm.complete(8) == 8
    report("paused", took)
    print(f"a whole wave later, and recovered, after {statistics.median(settled):.2f} s, at most {max(settled):.2f} s")


def test_the_coordinator_is_killed_under_traffic(vllm: Any) -> None:
    restarts = vllm.state()["restarts"]
    took = []
    with vllm.watching_waves() as waves:
        for number in range(KILLS_UNDER_TRAFFIC):
            requests = vllm.start(4, 40)
            killed = vllm.kill_worker()
            began = time.monotonic()
            requests += vllm.start(4, 10 + 5 * number)
            vllm.rejoined(killed)
            took.append(time.monotonic() - began)
            vllm.recovered(killed)
            for request in requests:
                request.result(60)
    report("traffic", took)
    assert waves[-1] > waves[0]
    after = vllm.paused()
    assert after["restarts"] == restarts + KILLS_UNDER_TRAFFIC
    assert after["totals"] == {"waiting": 0, "running": 0, "left_out": None}


def report(what: Any, took: Any) -> None:
    print(
        f"\n{len(took)} kills, {what}: serving again after {statistics.median(took):.2f} s, at most {max(took):.2f} s"
    )


def test_how_fast_it_is_up(vllm: Any) -> None:
    """Another coordinator, beside that deployment. Told, not asserted: `make bench-vllm` measures it."""
    program = (
        "import time; began = time.monotonic()\n"
        "from dp_coordinator.handle import DPCoordinator\n"
        "with DPCoordinator(2, supervised=True): print(time.monotonic() - began)"
    )
    took = [
        float(
            subprocess.run([HOME / "env/bin/python", "-c", program], check=True, capture_output=True, text=True).stdout
        )
        for _ in range(3)
    ]
    print("\nup after", ", ".join(f"{seconds:.2f} s" for seconds in took))


def test_the_supervisor_is_killed(vllm: Any) -> None:
    """Last, for it is the end of that deployment, as it is when vLLM's own coordinator dies."""
    pids = [vllm.supervisor_pid(), vllm.state()["pid"]]
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: not any(map(exists, pids)), "the coordinator has gone as well")
    serve = vllm.nodes[0]
    if vllm.api_servers == 2:
        assert serve.process.wait(60) != 0
        assert serve.said(r"Process DPCoordinator \(PID: \d+\) died with exit code -9")
    else:
        # Nothing in vLLM watches the coordinator with one API server: it serves on. What it lost is the waking of
        # paused engines: a request that comes to one of them alone waits until another comes to the other.
        requests = vllm.start(1, 8)

        def served() -> bool:
            if not wait(requests, timeout=1).not_done:
                return True
            requests.extend(vllm.start(1, 8))
            return False

        wait_until(served, "vLLM serves on", 60)
        assert {request.result() for request in requests} == {8}
        assert serve.healthy()
