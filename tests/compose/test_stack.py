"""`docker-compose up` gives a living dashboard: checked from outside, as a person or prometheus sees it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest

from deploy.grafana.panels import queries
from deploy.prometheus import rules
from tests.cli.run import run, running
from tests.compose.stack import OPEN, Stack, docker, running_stack
from tests.waiting import wait_until

pytestmark = pytest.mark.compose
SERVICES = ("coordinator", *(f"engine-{n}" for n in range(4)), "front-end-0", "front-end-1", "prometheus")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The whole stack, with all engines there."""
    with running_stack() as up:
        wait_until(lambda: up.get("/api/v1/state")["ready"], "every engine has subscribed", timeout=120)
        yield up


def next_events(stack: Stack, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """The next events of a kind, from now on."""
    since = stack.get("/api/v1/events?limit=1")["last_seq"]
    arguments = ("events", "--follow", "--json", "--since", str(since), "--kind", kind, "--url", stack.url)
    with running(*arguments) as follower:
        assert follower.stdout is not None
        return [json.loads(follower.stdout.readline()) for _ in range(count)]


def test_the_page_is_served_with_its_assets(stack: Stack) -> None:
    with OPEN(stack.url, timeout=10) as answer:
        page = answer.read().decode()
    assets = re.findall(r'(?:src|href)="[./]*(assets/[^"]+)"', page)
    assert assets
    for asset in assets:
        with OPEN(f"{stack.url}/{asset}", timeout=10) as answer:
            assert answer.status == 200
            assert answer.read()


def test_four_engines_and_two_front_ends_are_there(stack: Stack) -> None:
    wait_until(lambda: stack.get("/api/v1/state")["front_ends"] == 2, "both front-ends have subscribed")
    state = stack.get("/api/v1/state")
    assert (state["engine_count"], state["engines_subscribed"], len(state["engines"])) == (4, 4, 4)


def test_waves_start_and_end(stack: Stack) -> None:
    before = stack.get("/api/v1/state")["current_wave"]
    completed = next_events(stack, "wave_completed", 2)
    assert completed[1]["fields"]["wave"] > completed[0]["fields"]["wave"] >= before
    assert stack.get("/api/v1/state")["current_wave"] > before


def test_a_wave_started_by_hand_is_seen_to_wake_every_rank(stack: Stack) -> None:
    for _ in range(6):  # traffic may start a wave first: then the next pause is tried
        next_events(stack, "wave_completed")
        done = run("start-wave", "--reason", "compose test", "--json", "--url", stack.url)
        if done.returncode == 0:
            break
        assert "refused" in done.stderr, done.stderr
    action = json.loads(done.stdout)
    assert action["state"] == "observed"
    assert action["confirmed_by"], "a step takes every rank"


def test_prometheus_has_the_metrics(stack: Stack) -> None:
    wait_until(lambda: stack.metric("up") == [1.0], "prometheus has scraped the coordinator")
    wait_until(lambda: stack.metric("dp_coordinator_engines_subscribed") == [4.0], "four engines are in the metrics")
    assert len(stack.metric("dp_coordinator_engine_waiting")) == 4
    assert stack.metric("dp_coordinator_current_wave")[0] <= stack.get("/api/v1/state")["current_wave"]


def test_prometheus_has_what_the_board_asks_for_and_evaluates_the_rules(stack: Stack) -> None:
    for query in queries(namespace=".*", instance=".*", interval="1m"):
        wait_until(partial(stack.metric, quote(query)), query)
    with OPEN(f"{stack.prometheus_url}/api/v1/rules", timeout=10) as answer:
        groups = json.load(answer)["data"]["groups"]
    assert sorted(rule["name"] for group in groups for rule in group["rules"]) == sorted(
        rule["alert"] for group in rules.groups() for rule in group["rules"]
    )


def test_coordinator_and_prometheus_are_healthy(stack: Stack) -> None:
    for service in ("coordinator", "prometheus"):
        wait_until(partial(is_healthy, stack, service), f"{service} is healthy")


def is_healthy(stack: Stack, service: str) -> bool:
    """What Docker's health check says of a service."""
    return bool(stack.inspect(service)["State"]["Health"]["Status"] == "healthy")


@pytest.mark.parametrize("service", SERVICES)
def test_containers_are_locked_down(stack: Stack, service: str) -> None:
    container = stack.inspect(service)
    host = container["HostConfig"]
    assert container["Config"]["User"] not in {"", "0", "root"}
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    published = [end["HostIp"] for ends in host["PortBindings"].values() for end in ends]
    assert set(published) <= {"127.0.0.1"}


def test_the_root_file_system_cannot_be_written(stack: Stack) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        docker("exec", stack.container("coordinator"), "touch", "/opt/dp-coordinator/x")
    assert "Read-only file system" in failed.value.stderr


def test_nothing_can_be_installed_into_the_image(stack: Stack) -> None:
    look = "import importlib.util as u; print([n for n in ('pip', 'ensurepip', 'setuptools') if u.find_spec(n)])"
    assert docker("exec", stack.container("coordinator"), "python3", "-c", look).strip() == "[]"


def test_an_engine_that_is_killed_is_missed_and_comes_back(stack: Stack) -> None:
    since = stack.get("/api/v1/events?limit=1")["last_seq"]
    container = stack.container("engine-2")
    docker("kill", "--signal", "KILL", container)
    wait_until(lambda: "engine_unsubscribed" in kinds_since(stack, since), "the loss is in the event log", timeout=10)
    docker("start", container)
    wait_until(lambda: stack.get("/api/v1/state")["engines_subscribed"] == 4, "the engine is back", timeout=30)
    assert next_events(stack, "wave_completed")


def test_a_coordinator_that_is_killed_comes_back_with_its_wave(stack: Stack) -> None:
    before = stack.get("/api/v1/state")
    docker("exec", stack.container("coordinator"), "python3", "-c", f"import os; os.kill({before['pid']}, 9)")
    wait_until(lambda: stack.get("/api/v1/state")["restarts"] == before["restarts"] + 1, "it is back", timeout=30)
    wait_until(lambda: stack.get("/api/v1/state")["recovery"]["phase"] == "done", "it has recovered", timeout=60)
    assert next_events(stack, "wave_completed")
    after = stack.get("/api/v1/state")
    assert (after["engines_subscribed"], after["current_wave"] > before["current_wave"]) == (4, True)


def kinds_since(stack: Stack, since: int) -> set[str]:
    """The kinds of the events after a number."""
    return {event["kind"] for event in stack.get(f"/api/v1/events?since={since}")["events"]}
