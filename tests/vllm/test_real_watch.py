"""`watch`, and the same sources beside our coordinator, on real vLLM: counts, an engine that is stopped, a tap."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.signals import stopped
from tests.vllm.deployment import DENSE, MOE, START_TIMEOUT, Node, deployed, free_port
from tests.vllm.watching import TOLD_WITHIN, Watch, engines_of, in_flight, own_front_publish, watching, within
from tests.waiting import wait_until

pytestmark = pytest.mark.vllm


def test_external_load_balancing() -> None:
    """Two `vllm serve`, one rank each: counts from their metrics; one engine stops, and in lockstep all stand."""
    with tempfile.TemporaryDirectory() as folder:
        targets = Path(folder) / "targets"
        targets.touch()
        shared = ["--data-parallel-rpc-port", str(free_port())]
        ranks = [["--data-parallel-rank", str(rank), *shared] for rank in (0, 1)]
        with deployed(MOE, *ranks, DP_COORDINATOR_SCRAPE_FILE=str(targets)) as vllm:
            ports = [node.port for node in vllm.nodes]
            targets.write_text("".join(f"http://127.0.0.1:{port}\n" for port in ports))
            scraped = [f"--scrape=http://127.0.0.1:{port}" for port in ports]
            with watching(*scraped) as watch, in_flight([ports[0], ports[0], ports[1]]):
                beside = Watch(vllm.url)
                wait_until(lambda: watch.running() == [2, 1], "counts agree with what is in flight")
                wait_until(lambda: beside.running() == [2, 1], "the same beside the coordinator")
                state = wait_until(lambda: _confirmed(beside), "the wave is confirmed")
                assert state["totals"] == {"waiting": 0, "running": 3, "left_out": None}
                assert {each["source"] for each in state["engines"]} == {"vllm"}
                _stopped_in_lockstep(watch, beside, engines_of(vllm.nodes[1]))


def _confirmed(page: Watch) -> Any:
    state = page.get("state")
    return state if state["state"] == "running" and state["wave"]["confirmed_by"] else None


def _stopped_in_lockstep(watch: Watch, beside: Watch, engines: dict[str, int]) -> None:
    ((title, pid),) = engines.items()
    assert "DP1" in title
    with stopped(pid):
        told = within(TOLD_WITHIN, "the standing deployment is told", lambda: watch.alarms().get("deployment_stands"))
        assert told["title"].endswith("cannot tell which")
        assert "rank_hung" not in watch.alarms()
        named = wait_until(lambda: beside.alarms().get("deployment_stands"), "the stopped rank is named")
        assert named["engines"] == [1], named
        assert f"rank 1, pid {pid} {title} is stopped" in named["title"]
        assert [each["status"] for each in beside.get("engines")["engines"]] == ["quiet", "suspect"]
    wait_until(lambda: not watch.alarms(), "all clears")
    wait_until(lambda: not beside.alarms(), "all clears beside the coordinator")


def test_multi_port_external_load_balancing() -> None:
    """One `vllm serve` with a port for each rank; our coordinator finds them by vLLM's own command line."""
    places = ["--data-parallel-multi-port-external-lb", "--data-parallel-size-local", "2"]
    places += ["--data-parallel-supervisor-port", str(free_port()), "--data-parallel-rpc-port", str(free_port())]
    with deployed(MOE, places) as vllm:
        port = vllm.nodes[0].port
        scraped = f"--scrape=http://127.0.0.1:{port}-{port + 1}"
        with watching(scraped) as watch, in_flight([port, port + 1, port + 1]):
            wait_until(lambda: watch.running() == [1, 2], "counts agree with what is in flight")
            assert not watch.alarms()
            beside = Watch(vllm.url)
            wait_until(lambda: beside.running() == [1, 2], "the same beside the coordinator")
            assert [each["name"] for each in beside.get("sources")["targets"]] == [
                f"http://127.0.0.1:{port}",
                f"http://127.0.0.1:{port + 1}",
            ]


def test_two_independent_instances() -> None:
    """Each says engine 0: ranks follow the order of targets. The one whose engine stops is named, the other is not."""
    with instances(2) as (one, other):
        scraped = [f"--scrape=http://127.0.0.1:{node.port}" for node in (one, other)]
        with watching(*scraped) as watch, in_flight([one.port, other.port, other.port]):
            wait_until(lambda: watch.running() == [1, 2], "counts agree with what is in flight")
            assert watch.get("sources")["independent"]
            assert not watch.alarms()
            (pid,) = engines_of(other).values()
            with stopped(pid):
                told = within(TOLD_WITHIN, "the stopped rank is named", lambda: watch.alarms().get("rank_hung"))
                assert told["engines"] == [1]
                assert watch.alarms().keys() == {"rank_hung"}
            wait_until(lambda: not watch.alarms(), "all clears")


def test_a_tap_on_vllms_own_coordinator() -> None:
    """Its waves and counts, with nothing replaced."""
    with tempfile.TemporaryDirectory(prefix="dpc-") as folder:
        node = Node(MOE, [], Path(folder), {"VLLM_RPC_BASE_PATH": folder, "DP_COORDINATOR": ""})
        try:
            wait_until(node.healthy, "vLLM answers", START_TIMEOUT)
            with watching(f"--tap={own_front_publish(node)}") as watch:
                with in_flight([node.port]):
                    wait_until(lambda: watch.get("state")["state"] == "running", "a wave runs")
                    wait_until(lambda: 1 in watch.running(), "its request is counted")
                wait_until(lambda: watch.get("state")["state"] == "paused", "it pauses")
                waves = watch.get("waves")["waves"]
                assert waves
                assert all(wave["completed"] for wave in waves)
                assert watch.get("state")["current_wave"] == waves[0]["number"] + 1
        except BaseException:
            print(node.log.read_text(errors="replace")[-4000:])
            raise
        finally:
            node.stop()


@contextmanager
def instances(count: int) -> Iterator[list[Node]]:
    """Servers of their own, without data parallelism."""
    folder = Path(tempfile.mkdtemp(prefix="dpc-"))
    alone = ["--data-parallel-size", "1"]
    nodes = [Node(DENSE, alone, folder, {"VLLM_RPC_BASE_PATH": str(folder)}) for _ in range(count)]
    try:
        for node in nodes:
            wait_until(node.healthy, "vLLM answers", START_TIMEOUT)
        yield nodes
    except BaseException:
        for node in nodes:
            print(node.log.read_text(errors="replace")[-4000:])
        raise
    finally:
        for node in nodes:
            node.stop()
        shutil.rmtree(folder, ignore_errors=True)
