"""Which engine it was that ended, with real vLLM: as processes over ipc, and as Ray actors on one and on two Ray nodes.

vLLM ends itself when an engine ends, and its coordinator with it, often within a second. So each of these takes a
deployment of its own. Run by `make test-vllm`.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.vllm import ray_nodes
from tests.vllm.deployment import MOE, Deployment, deployed
from tests.waiting import wait_until

pytestmark = pytest.mark.vllm
NAMED_WITHIN = 2.0


def peers(vllm: Deployment, kind: str, socket: str) -> list[Any]:
    return [peer for peer in vllm.get("peers")["peers"] if peer["kind"] == kind and peer["socket"] == socket]


def report_by_all(vllm: Deployment) -> None:
    """Over TCP an engine has no name before it has reported, and it reports when a request reaches it."""

    def reported() -> bool:
        vllm.complete_all(4, 8)
        return all(engine["status"] != "never" for engine in vllm.get("engines")["engines"])

    wait_until(reported, "every engine has reported", 60)


class Watched:
    """What REST says of each rank, many times a second, until it answers no more."""

    def __init__(self, vllm: Deployment) -> None:
        self.vllm = vllm
        self.first_gone: dict[int, tuple[float, str]] = {}
        """Rank -> seconds since the kill at which it was first said to be gone, and how that was said."""

    def kill(self, rank: int, pid: int) -> None:
        """Kill an engine's process and look until it is named, or the coordinator ends."""
        killed_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        while time.monotonic() < killed_at + NAMED_WITHIN and rank not in self.first_gone:
            try:
                engines = self.vllm.get("engines")["engines"]
            except httpx.TransportError:
                break
            after = time.monotonic() - killed_at
            for engine in engines:
                if engine["status"] == "gone":
                    self.first_gone.setdefault(engine["index"], (after, engine["status_text"]))
            time.sleep(0.02)


def check_named(vllm: Deployment, rank: int, pid: int, place: str) -> None:
    """Kill the process of a rank under traffic; page, REST and log name this rank, and at first no other."""
    vllm.start(6, 400)
    wait_until(lambda: all((e["running"] or 0) > 0 for e in vllm.get("engines")["engines"]), "both are busy", 60)
    watched = Watched(vllm)
    watched.kill(rank, pid)
    after, text = watched.first_gone.get(rank, (None, ""))
    print(f"\nrank {rank}: named {after and round(after, 2)} s after the kill: {text}")
    assert after is not None, f"not named within {NAMED_WITHIN:g} s; gone: {watched.first_gone}"
    assert text.startswith(f"{place}: connection closed")
    first = wait_until(lambda: vllm.nodes[0].said(r"Rank (\d+)'s reports ended \((.+)\)"), "the log says so")
    assert (int(first[1]), first[2]) == (rank, f"{place}: connection closed")
    for node in vllm.nodes:
        node.kill()  # vLLM is ending by now, and waits up to minutes for the engine that is left


@pytest.mark.parametrize(("rank", "api_servers"), [(0, 1), (1, 2)])
def test_who_is_who_and_which_engine_was_killed(rank: int, api_servers: int) -> None:
    with deployed(MOE, ["--api-server-count", str(api_servers)]) as vllm:
        engines = {}
        for socket in ("back_publish", "back_output"):
            there = {peer["engine"]: peer for peer in peers(vllm, "engine", socket)}
            assert {index: peer["title"] for index, peer in there.items()} == {
                0: "VLLM::EngineCore_DP0",
                1: "VLLM::EngineCore_DP1",
            }
            assert all(peer["name"] == f"pid {peer['pid']} {peer['title']}" for peer in there.values())
            engines[socket] = {index: peer["pid"] for index, peer in there.items()}
        assert engines["back_publish"] == engines["back_output"]
        fronts = peers(vllm, "front-end", "front_publish")
        assert len(fronts) == api_servers
        for front in fronts:
            expected = r"pid \d+ VLLM::APIServer_\d" if api_servers > 1 else r"pid \d+ \S.*vllm serve .*"
            assert re.fullmatch(expected, front["name"]), front
        for index, pid in engines["back_publish"].items():  # vLLM's own log says which process is which rank
            assert vllm.nodes[0].said(rf"\(EngineCore_DP{index} pid={pid}\)"), vllm.logs()
        pid = engines["back_publish"][rank]
        check_named(vllm, rank, pid, f"pid {pid} VLLM::EngineCore_DP{rank}")


# -- as Ray actors -----------------------------------------------------------------------------------------------------


@contextmanager
def over_ray(nodes: int) -> Iterator[tuple[Deployment, ray_nodes.RayNodes]]:
    with ray_nodes.running(nodes) as ray:
        arguments = ["--data-parallel-backend", "ray", "--data-parallel-address", ray_nodes.HOSTS[0]]
        local = ["--data-parallel-size-local", str(2 // nodes), "--api-server-count", str(nodes)]
        with deployed(MOE, [*arguments, *local], terminal=None, **ray.environment()) as vllm:
            vllm.api_servers = nodes
            yield vllm, ray


def test_waves_counts_and_kills_of_the_coordinator_on_one_ray_node() -> None:
    with over_ray(1) as (vllm, _):
        state = vllm.state()
        assert state["engine_count"] == state["engines_subscribed"] == 2
        assert state["endpoints"]["back_output"].startswith("ipc")
        report_by_all(vllm)
        before = vllm.paused()["current_wave"]
        with vllm.watching_waves():
            for _ in range(3):
                requests = vllm.start(4, 40)
                killed = vllm.kill_worker()
                requests += vllm.start(2, 20)
                vllm.rejoined(killed)
                vllm.recovered(killed)
                for request in requests:
                    request.result(90)
        after = vllm.paused()
        assert after["current_wave"] > before
        assert after["restarts"] == 3
        assert after["totals"] == {"waiting": 0, "running": 0, "left_out": None}


@pytest.mark.parametrize("rank", [0, 1])
def test_which_engine_was_killed_on_two_ray_nodes(rank: int) -> None:
    with over_ray(2) as (vllm, ray):
        assert vllm.state()["endpoints"]["back_output"].startswith("tcp")
        report_by_all(vllm)
        killed = vllm.kill_worker()  # and what comes back is named again
        vllm.rejoined(killed)
        report_by_all(vllm)
        vllm.recovered(killed)
        named = {peer["engine"]: peer["name"] for peer in peers(vllm, "engine", "back_output")}
        pids = ray.engines()
        assert {index: ray_nodes.owner_of(name) for index, name in named.items()} == pids
        check_named(vllm, rank, pids[rank], named[rank])
