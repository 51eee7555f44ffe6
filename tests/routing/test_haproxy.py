"""A real HAProxy before simulated ranks: what it makes of the agent's answers, and docs/routers.md as it is written."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.routing import haproxy, proxy
from benchmarks.routing.haproxy import BALANCES, WEIGHTS, Site, complete
from benchmarks.routing.proxy import Entrance, free_ports
from benchmarks.routing.workload import Request

PAGE = Path(__file__).parents[2] / "docs" / "routers.md"
PATIENCE = 60.0

pytestmark = pytest.mark.skipif(proxy.HAPROXY is None, reason="no HAProxy here: `make setup` installs it where it can")


def eventually(what: str, check: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE:g} s: {what}")


@pytest.fixture(scope="module")
def there() -> Iterator[Site]:
    """Three ranks behind an HAProxy that goes by the agent's weights."""
    with haproxy.site(3, [Entrance(WEIGHTS, free_ports(1)[0])], step_ms=10.0) as running:
        eventually("the agent was asked", lambda: all(row["agent_status"] == "L7OK" for row in running.proxy.show()))
        yield running


def server(there: Site, rank: int) -> dict[str, str]:
    return there.proxy.show()[rank]


def weight(there: Site, rank: int) -> int:
    return int(server(there, rank)["weight"])


def test_weights_follow_the_load_and_requests_the_weights(there: Site) -> None:
    async def load() -> list[Any]:
        """Ten long requests at rank 0, not through HAProxy; while they run, twelve short ones through it."""
        async with asyncio.TaskGroup() as group:
            long = [group.create_task(complete(there.ranks[0], 2000)) for _ in range(10)]
            await asyncio.to_thread(eventually, "rank 0 gets next to nothing", lambda: weight(there, 0) <= 5)
            short = [await complete(there.proxy.entrances[0].port, 1) for _ in range(12)]
            for each in long:
                each.cancel()
        return short

    short = asyncio.run(load())
    assert None not in short
    assert sum(each["rank"] == 0 for each in short) <= 1
    eventually("rank 0 is one of three again", lambda: weight(there, 0) == weight(there, 1) == 100)


def test_a_rank_that_is_gone_is_down_and_the_others_take_its_requests() -> None:
    """All ranks are one process here; so it is two engines of four that never were there."""
    with haproxy.site(3, [Entrance(WEIGHTS, free_ports(1)[0])], step_ms=10.0) as there:
        eventually("the agent was asked", lambda: all(row["agent_status"] == "L7OK" for row in there.proxy.show()))
        assert asyncio.run(complete(there.proxy.entrances[0].port, 3)) is not None
        there.engines.send_signal(signal.SIGKILL)
        down = eventually(
            "all are down", lambda: [row for row in there.proxy.show() if "DOWN (agent)" in row["status"]]
        )
        assert "gone" in down[0]["last_agt"] or "via agent : down" in down[0]["last_agt"]


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
        eventually("the agent was asked", lambda: all(row["agent_status"] == "L7OK" for row in running.show()))
        assert [row["svname"] for row in running.show()] == ["rank0", "rank1"]
        answers = [asyncio.run(complete(port, 2)) for _ in range(4)]
        assert {answer["rank"] for answer in answers if answer is not None} == {0, 1}


@pytest.mark.parametrize("said", ["rank 7\\n", "hello\\n"])
def test_what_is_wrong_stands_on_the_status_page(there: Site, said: str) -> None:
    server_line = f"server wrong 127.0.0.1:{there.ranks[0]} check weight 100 agent-check agent-inter 1s"
    port = free_ports(1)[0]
    text = f'listen one\n bind 127.0.0.1:{port}\n {server_line} agent-port {there.agent} agent-send "{said}"\n'
    with proxy.running(text) as running:
        row = eventually("it was told", lambda: (row := running.show()[0])["agent_status"] == "L7STS" and row)
        assert row["status"].startswith("DOWN")
        assert ("no rank 7" if "7" in said else "say which rank") in row["last_agt"]


def test_an_agent_send_without_its_end_changes_nothing(there: Site) -> None:
    server_line = f"server rank0 127.0.0.1:{there.ranks[0]} check weight 100 agent-check agent-inter 1s"
    port = free_ports(1)[0]
    text = f'listen one\n bind 127.0.0.1:{port}\n {server_line} agent-port {there.agent} agent-send "rank 0"\n'
    with proxy.running(text) as running:
        eventually("it was asked", lambda: running.show()[0]["agent_status"] not in ("", "INI"))
        row = running.show()[0]
        assert (row["status"], row["weight"]) == ("UP", "100")


def test_the_loads_of_these_ranks(there: Site) -> None:
    told = httpx.get(f"{there.url}/api/v1/loads", trust_env=False).json()["loads"]
    assert [each["rank"] for each in told] == [0, 1, 2]
