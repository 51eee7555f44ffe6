"""`dp-coordinator watch` as a process, beside API servers that are stand-ins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from dp_coordinator.client import EngineClient, FrontendClient
from tests.cli.run import announced, run, running
from tests.sources.standin import metrics, served
from tests.waiting import wait_until


@contextmanager
def watching(*arguments: str) -> Iterator[httpx.Client]:
    """Its REST."""
    with running("watch", "--http", "127.0.0.1:0", "--scrape-interval", "0.2", *arguments) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith("no coordinator is replaced, nothing can be started\n")
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        with httpx.Client(base_url=found[0], trust_env=False, timeout=30) as client:
            yield client
    assert process.returncode == 0


def engines(client: httpx.Client) -> list[Any]:
    listed: list[Any] = client.get("/api/v1/engines").json()["engines"]
    return listed


def test_everything_but_a_start() -> None:
    with ExitStack() as stack:
        pages = metrics(0, running=2, steps=5), metrics(1, running=3, waiting=1, usage=0.5)
        one, other = stack.enter_context(served(*pages))
        client = stack.enter_context(watching("--scrape", one.url, "--scrape", other.url))
        wait_until(lambda: [row["running"] for row in engines(client)] == [2, 3], "both ranks are told of")
        rows = engines(client)
        assert [(row["source"], row["sourced"]["target"]) for row in rows] == [
            ("vllm", one.url),
            ("vllm", other.url),
        ]
        assert all(row["sourced"]["running_age_s"] < 30 and row["age_s"] < 30 for row in rows)
        state = client.get("/api/v1/state").json()
        assert (state["state"], state["state_tone"], state["watching"]) == ("serving", "good", True)
        assert state["totals"] == {"waiting": 1, "running": 5, "left_out": None}
        assert state["state_text"].endswith("as 2 of 2 targets answer; of waves nothing is known here")
        assert client.get("/readyz").status_code == 200
        assert 'dp_coordinator_engine_running{engine="1"} 3.0' in client.get("/metrics").text
        wait_until(lambda: client.get("/api/v1/history").json()["running"][-1:] == [5], "there is history")
        assert client.post("/api/v1/waves", json={"reason": "a test"}).status_code == 405
        assert client.get("/api/v1/recording").status_code == 404
        assert "/api/v1/actions/{action_id}" not in client.get("/openapi.json").json()["paths"]
        url = str(client.base_url).rstrip("/")
        printed = run("state", "--url", url).stdout
        assert "engines   2 of 2 told of" in printed
        assert "manual start" not in printed
        assert f"vllm {other.url}" in run("engines", "--url", url).stdout
        refused = run("start-wave", "--url", url, "--reason", "a test")
        assert refused.returncode == 1
        assert run("top", "--url", url).returncode == 0


def test_nothing_answers_yet() -> None:
    with watching("--scrape", "http://127.0.0.1:1-2") as client:
        wait_until(lambda: len(client.get("/api/v1/alarms").json()["alarms"]) == 1, "that nobody answers is an alarm")
        (alarm,) = client.get("/api/v1/alarms").json()["alarms"]
        assert (alarm["kind"], alarm["engines"]) == ("endpoint_silent", [0, 1])
        assert "http://127.0.0.1:1: no connection: connection refused" in alarm["title"]
        state = client.get("/api/v1/state").json()
        assert (state["state"], state["totals"]["running"]) == ("waiting", None)
        assert state["state_text"] == "Waiting for answers: 0 of 2 targets answer"
        assert [row["status"] for row in engines(client)] == ["suspect", "suspect"]
        assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is nothing to watch: name it with --scrape, --scrape-file or --tap"),
        (
            ["--scrape", "127.0.0.1:8000"],
            "is no API server: write http://HOST:PORT, such as http://127.0.0.1:8000-8007",
        ),
        (["--scrape", "http://127.0.0.1:8000/metrics"], "write http://HOST:PORT without a path"),
        (["--scrape", "http://127.0.0.1:1-9999"], "a range of at most 1024 ports"),
        (["--scrape", "http://me:secret@host:1"], "a secret never goes into an address"),
        (["--tap", "tcp://127.0.0.1:*"], "names no port"),
        (["--scrape-interval", "0.01", "--scrape", "http://a:1"], "out of bounds: use 0.2 to 60"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], said: str) -> None:
    done = run("watch", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_beside_a_coordinator_it_never_reaches_front_ends() -> None:
    with ExitStack() as stack:
        one, other = stack.enter_context(served(metrics(0, running=7), metrics(1, running=8)))
        command = ["serve", "--engine-count", "2", "--http", "127.0.0.1:0", "--scrape-interval", "0.2"]
        process = stack.enter_context(running(*command, "--scrape", one.url, "--scrape", other.url))
        bound = announced(process)
        ends = bound["back_publish"], bound["back_output"]
        clients = [stack.enter_context(EngineClient(rank, *ends)) for rank in (0, 1)]
        front_end = stack.enter_context(FrontendClient(bound["front_publish"]))
        client = stack.enter_context(httpx.Client(base_url=bound["dashboard"], trust_env=False, timeout=30))
        for engine in clients:
            engine.wait_ready(timeout=30)
        wait_until(lambda: [row["running"] for row in engines(client)] == [7, 8], "sources fill the page")
        clients[0].report_stats(waiting=0, running=1, step_counter=1, current_wave=0)
        wait_until(lambda: [row["source"] for row in engines(client)] == ["reports", "vllm"], "a report goes first")
        first, filled = engines(client)
        assert (first["running"], first["sourced"]["running"]) == (1, 7)
        assert (filled["running"], filled["sourced"]["running"]) == (8, 8)
        published: list[int] = []
        while published != [1, 0]:
            front_end.wait_update(timeout=30)
            published = [] if front_end.load is None else [each.running for each in front_end.load.engines]
            assert published in ([], [0, 0], [1, 0])
