"""A real HAProxy before two real vLLM instances: agent weights beside other ways to balance, and a rank that hangs."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import ExitStack
from statistics import fmean, median
from typing import Any

import pytest

from benchmarks.ports import free_ports
from benchmarks.routing import proxy
from benchmarks.routing.haproxy import BALANCES, WEIGHTS, complete
from benchmarks.routing.proxy import Entrance, Proxy, configuration
from benchmarks.routing.workload import percentile
from tests.signals import stopped
from tests.vllm.deployment import HTTP
from tests.vllm.test_real_watch import instances
from tests.vllm.watching import Watch, engines_of, in_flight, watching
from tests.waiting import wait_until

pytestmark = pytest.mark.vllm
CLIENTS, EACH = 24, 5
SHORT, LONG = 16, 300
ROUND_WITHIN = 5.0
"""Seconds from the moment in which an engine stops until requests go round it."""


def test_haproxy_before_real_ranks() -> None:
    entrances = [Entrance(balance, port) for balance in BALANCES for port in free_ports(1)]
    agent = free_ports(1)[0]
    with instances(2) as nodes, ExitStack() as stack:
        ports = [node.port for node in nodes]
        asked = [f"--scrape=http://127.0.0.1:{port}" for port in ports]
        told = ["--scrape-interval", "1", "--haproxy-agent", f"127.0.0.1:{agent}"]
        watch = stack.enter_context(watching(*asked, *told))
        there = stack.enter_context(proxy.running(configuration(ports, agent, entrances), entrances))
        wait_until(lambda: {"L7OK"} == {row["agent_status"] for row in of(there, WEIGHTS.name)}, "the agent was asked")
        for entrance in entrances:
            print(asyncio.run(figures(watch, entrance)))
        weighed = entrances[BALANCES.index(WEIGHTS)]
        with in_flight([ports[0], ports[1], ports[1]]):
            wait_until(lambda: all(watch.running()), "both have requests")
            ((_, pid),) = engines_of(nodes[1]).items()
            with stopped(pid):
                began = time.monotonic()
                wait_until(lambda: "DRAIN" in of(there, WEIGHTS.name)[1]["status"], "requests go round it")
                took = time.monotonic() - began
                before = [int(row["stot"]) for row in of(there, WEIGHTS.name)]
                for _ in range(6):
                    assert asyncio.run(complete(weighed.port, 2, 60)) is not None
                after = [int(row["stot"]) for row in of(there, WEIGHTS.name)]
                assert watch.get("loads")["loads"][1]["address"] == f"127.0.0.1:{ports[1]}"
            print(f"requests go round a rank whose engine is stopped after {took:.1f} s")
            assert took <= ROUND_WITHIN
            assert [now - then for then, now in zip(before, after, strict=True)] == [6, 0]
            wait_until(lambda: of(there, WEIGHTS.name)[1]["status"] == "UP", "it is back")


def of(there: Proxy, name: str) -> list[dict[str, str]]:
    """What HAProxy says of the servers of one way to balance."""
    place = next(number for number, each in enumerate(there.entrances) if each.balance.name == name)
    return [row for row in there.show() if row["pxname"] == f"out{place}"]


async def figures(watch: Watch, entrance: Entrance) -> str:
    """How long short requests take beside long ones, and how uneven the ranks are, as one line."""
    chance = random.Random(1)
    took: list[float] = []
    uneven: list[float] = []

    async def client(wanted: list[int]) -> None:
        for tokens in wanted:
            began = time.monotonic()
            assert await complete(entrance.port, tokens, 300) is not None
            if tokens == SHORT:
                took.append(time.monotonic() - began)

    async def look() -> None:
        while True:
            loads: Any = await asyncio.to_thread(lambda: HTTP.get(f"{watch.url}/api/v1/loads").json()["loads"])
            requests = [each["waiting"] + each["running"] for each in loads]
            if any(requests):
                uneven.append(max(requests) / fmean(requests))
            await asyncio.sleep(0.5)

    looking = asyncio.create_task(look())
    wanted = [[LONG if chance.random() < 0.2 else SHORT for _ in range(EACH)] for _ in range(CLIENTS)]
    began = time.monotonic()
    await asyncio.gather(*map(client, wanted))
    looking.cancel()
    lasted = time.monotonic() - began
    return (
        f"{entrance.balance.name}: {CLIENTS * EACH} requests in {lasted:.1f} s; of {SHORT} tokens p50 "
        f"{median(took):.2f} s, p99 {percentile(took, 0.99):.2f} s; fullest rank over the mean {fmean(uneven):.2f}"
    )
