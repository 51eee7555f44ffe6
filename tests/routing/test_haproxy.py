"""A real HAProxy before simulated ranks: what it makes of the agent's answers, and docs/routers.md as it is written."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.ports import free_ports
from benchmarks.routing import haproxy, proxy
from benchmarks.routing.haproxy import BALANCES, WEIGHTS, Site, complete
from benchmarks.routing.proxy import Entrance
from benchmarks.routing.workload import Request
from dp_coordinator.handle import DPCoordinator
from tests.waiting import PATIENCE, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "routers.md"
SLACK = 3
"""A busy machine takes longer than the five seconds that are promised, and it is the machine that does."""

pytestmark = pytest.mark.skipif(proxy.HAPROXY is None, reason="no HAProxy here: `make setup` installs it where it can")


@pytest.fixture(scope="module")
def there() -> Iterator[Site]:
    """Three ranks behind an HAProxy that goes by the agent's weights."""
    with haproxy.site(3, [Entrance(WEIGHTS, free_ports(1)[0])], slots=16, step_ms=10.0) as running:
        wait_until(lambda: all(row["agent_status"] == "L7OK" for row in running.proxy.show()), "the agent was asked")
        yield running


def server(there: Site, rank: int) -> dict[str, str]:
    return there.proxy.show()[rank]


def weight(there: Site, rank: int) -> int:
    return int(server(there, rank)["weight"])


def tell(there: Site, rank: int, what: str) -> None:
    httpx.post(f"http://127.0.0.1:{there.ranks[rank]}/{what}", trust_env=False, timeout=PATIENCE).raise_for_status()


@asynccontextmanager
async def busy(there: Site, **requests: int) -> AsyncIterator[None]:
    """So many requests without an end at some ranks, not through HAProxy; at last all are answered."""
    counts = {int(rank.removeprefix("rank")): count for rank, count in requests.items()}
    async with asyncio.TaskGroup() as group:
        sent = [complete(there.ranks[rank], 10**6) for rank, count in counts.items() for _ in range(count)]
        answers = [group.create_task(each) for each in sent]

        def loaded() -> bool:
            told = httpx.get(f"{there.url}/api/v1/loads", trust_env=False, timeout=PATIENCE).json()["loads"]
            return all((told[rank]["running"] or 0) + told[rank]["waiting"] == count for rank, count in counts.items())

        await asyncio.to_thread(wait_until, loaded, "the requests are there")
        try:
            yield
        finally:
            for rank in counts:
                await asyncio.to_thread(tell, there, rank, "hang?on=0")
                await asyncio.to_thread(tell, there, rank, "finish")
    assert None not in [answer.result() for answer in answers]


async def asked(there: Site, requests: int) -> list[int]:
    """Which ranks HAProxy gives so many short requests to, one after the other."""
    answers = [await complete(there.proxy.entrances[0].port, 1, PATIENCE) for _ in range(requests)]
    return [int(answer["rank"]) for answer in answers if answer is not None]


async def test_weights_follow_the_load_and_requests_the_weights(there: Site) -> None:
    async with busy(there, rank0=10):
        await asyncio.to_thread(wait_until, lambda: weight(there, 0) == 1, "rank 0 gets next to nothing")
        chosen = await asked(there, 12)
    assert len(chosen) == 12
    assert chosen.count(0) <= 1
    await asyncio.to_thread(wait_until, lambda: weight(there, 0) == 100, "rank 0 is one of three again")


async def test_requests_go_round_a_rank_that_hangs_within_five_seconds_and_come_back(there: Site) -> None:
    async with busy(there, rank0=1, rank1=2, rank2=1):
        tell(there, 1, "hang?on=1")
        began = time.monotonic()
        await asyncio.to_thread(wait_until, lambda: "DRAIN" in server(there, 1)["status"], "rank 1 is drained")
        took = time.monotonic() - began
        chosen = await asked(there, 4)
        print(f"drained after {took:.1f} s")
        assert took < 5 * SLACK
        assert len(chosen) == 4
        assert 1 not in chosen
    await asyncio.to_thread(wait_until, lambda: server(there, 1)["status"] == "UP", "rank 1 is back")


_ENGINE = """
import sys, time
from dp_coordinator.client import EngineClient
with EngineClient(int(sys.argv[1]), *sys.argv[2:]) as engine:
    engine.wait_ready(60)
    engine.report_stats(waiting=0, running=1, kv_cache_usage=0.1, step_counter=1, current_wave=0)
    time.sleep(600)
"""


@contextmanager
def engine(rank: int, ends: tuple[str, str]) -> Iterator[None]:
    """An engine that is a process of its own, killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", _ENGINE, str(rank), *ends])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_rank_that_is_gone_is_down_and_up_again_once_it_is_back() -> None:
    with ExitStack() as stack:
        port, agent, page = free_ports(3)
        options: Any = {"http": f"127.0.0.1:{page}", "haproxy_agent": f"127.0.0.1:{agent}", "log_level": "warning"}
        coordinator = stack.enter_context(DPCoordinator(2, wave_coordination=False, **options))
        ends = coordinator.get_engine_socket_addresses()
        stack.enter_context(engine(0, ends))
        there = stack.enter_context(proxy.running(asking(port, page, agent, "rank 0\\n", "rank 1\\n")))
        with engine(1, ends):
            wait_until(lambda: states(page) == ["working", "working"], "rank 1 is working")
            wait_until(lambda: all(row["agent_status"] == "L7OK" for row in there.show()), "the agent was asked")
        down = wait_until(
            lambda: row if (row := there.show()[1])["status"].startswith("DOWN") else None, "rank 1 is down"
        )
        assert down["last_agt"] == "via agent : down (gone)"
        assert there.show()[0]["status"] == "UP"
        with engine(1, ends):
            wait_until(lambda: there.show()[1]["status"] == "UP", "rank 1 is up")


def states(page: int) -> list[str]:
    told = httpx.get(f"http://127.0.0.1:{page}/api/v1/loads", trust_env=False, timeout=PATIENCE).json()["loads"]
    return [each["state"] for each in told]


def asking(port: int, answers: int, agent: int, *said: str) -> str:
    """HAProxy's configuration of servers, all at one port that listens, that ask the agent in these words."""
    checks = f"127.0.0.1:{answers} check weight 100 agent-check agent-port {agent} agent-inter 1s"
    servers = [f' server s{number} {checks} agent-send "{each}"' for number, each in enumerate(said)]
    return "\n".join([f"listen one\n bind 127.0.0.1:{port}", *servers, ""])


def test_every_way_to_balance_answers_every_request() -> None:
    entrances = [Entrance(balance, port) for balance in BALANCES for port in free_ports(1)]
    with haproxy.site(2, entrances, step_ms=10.0) as there:
        wanted = [Request(number * 0.02, 0.05) for number in range(20)]
        for entrance in entrances:
            outcome = asyncio.run(haproxy.drive(there, [entrance.port], wanted))
            assert outcome.failed == 0
            assert outcome.waits


def test_the_configuration_in_the_documentation(there: Site) -> None:
    written = re.search(r"<!-- haproxy -->\n```haproxy\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert written is not None
    port, agent = free_ports(1)[0], there.agent
    text = written[1].replace(":8888", f":{port}").replace("agent-port 8090", f"agent-port {agent}")
    for rank in (0, 1):
        assert f":800{rank} " in text
        text = text.replace(f":800{rank} ", f":{there.ranks[rank]} ")
    with proxy.running(text) as running:
        wait_until(lambda: all(row["agent_status"] == "L7OK" for row in running.show()), "the agent was asked")
        assert [row["svname"] for row in running.show()] == ["rank0", "rank1"]
        answers = [asyncio.run(complete(port, 2)) for _ in range(4)]
        assert {answer["rank"] for answer in answers if answer is not None} == {0, 1}


def test_what_is_wrong_stands_on_the_status_page(there: Site) -> None:
    text = asking(free_ports(1)[0], there.ranks[0], there.agent, "rank 7\\n", "hello\\n")
    with proxy.running(text) as running:
        wait_until(lambda: all(row["agent_status"] == "L7STS" for row in running.show()), "it was told")
        no_rank, no_words = running.show()
    assert no_rank["status"].startswith("DOWN")
    assert no_words["status"].startswith("DOWN")
    assert "there is no rank 7: they are 0 to 2" in no_rank["last_agt"]
    assert "say which rank" in no_words["last_agt"]


def test_an_agent_send_without_its_end_changes_nothing(there: Site) -> None:
    with proxy.running(asking(free_ports(1)[0], there.ranks[0], there.agent, "rank 0")) as running:
        wait_until(lambda: running.show()[0]["agent_status"] not in ("", "INI"), "it was asked")
        row = running.show()[0]
        assert (row["status"], row["weight"]) == ("UP", "100")


def test_the_loads_of_these_ranks(there: Site) -> None:
    told = httpx.get(f"{there.url}/api/v1/loads", trust_env=False).json()["loads"]
    assert [(each["rank"], each["source"]) for each in told] == [(0, "vllm"), (1, "vllm"), (2, "vllm")]
    assert [each["address"] for each in told] == [f"127.0.0.1:{port}" for port in there.ranks]
