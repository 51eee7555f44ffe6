"""Faults really caused, one after the other, in a deployment of real processes: each alarm comes, and goes again."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Generator
from typing import Any

import pytest
import zmq
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.signals import stopped

TIMEOUT = 30.0
QUICK = {"alarm_not_stepping_s": 0.5, "alarm_silent_s": 1.0, "alarm_missing_s": 0.5}
TRAFFIC = {"rate": 120.0, "burst_min_s": 0.5, "burst_max_s": 0.5, "min_steps": 40, "max_steps": 80}


class Watch:
    """The newest snapshot of the stream, which is joined anew when the coordinator was started again."""

    def __init__(self, url: str) -> None:
        self._snapshots = snapshots(url.replace("http", "ws") + "/api/v1/stream")

    def until(self, done: Callable[[Any], object]) -> Any:
        deadline = time.monotonic() + TIMEOUT
        for seen in self._snapshots:
            if done(seen):
                return seen
            assert time.monotonic() < deadline, seen
        raise AssertionError

    def raised(self, kind: str) -> Any:
        return next(a for a in self.until(lambda seen: kind in alarms(seen))["alarms"] if a["kind"] == kind)

    def cleared(self, kind: str) -> None:
        self.until(lambda seen: kind not in alarms(seen))

    def close(self) -> None:
        self._snapshots.close()


def snapshots(url: str) -> Generator[Any, None, None]:
    """There is one a second at least; an error when the coordinator is not back in time."""
    heard_at = time.monotonic()
    while time.monotonic() - heard_at < TIMEOUT:
        try:
            with connect(url, proxy=None, open_timeout=TIMEOUT) as stream:
                while True:
                    message = json.loads(stream.recv(TIMEOUT))
                    heard_at = time.monotonic()
                    if isinstance(message, dict) and message["type"] == "snapshot":
                        yield message
        except (OSError, WebSocketException):
            time.sleep(0.05)  # it is being started again


def alarms(seen: Any) -> set[str]:
    return {alarm["kind"] for alarm in seen["alarms"]}


def start_wave(url: str) -> None:
    body = json.dumps({"reason": "to see who follows"}).encode()
    request = urllib.request.Request(url + "/api/v1/waves", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        assert answer.status == 202


@pytest.mark.parametrize("dialect", ["0.33"])
def test_each_fault_raises_its_alarm_which_goes_with_it(deploy: Callable[..., Any], dialect: str) -> None:
    deployed = deploy(3, dialect, step_ms=5.0, http="127.0.0.1:0", supervised=True, **QUICK)
    coordinator, url = deployed.coordinator, deployed.coordinator.http_url
    watch = Watch(url)
    watch.until(lambda seen: seen["ready"] and seen["front_ends"] == 1)

    with stopped(deployed.engines[1].pid):
        start_wave(url)
        assert 1 in watch.raised("asked_not_stepping")["engines"]
    watch.cleared("asked_not_stepping")

    first = deployed.front_end(requests=0, cycle_s=0.5, request_timeout_s=3.0, **TRAFFIC)
    watch.until(lambda seen: (seen["totals"]["running"] or 0) >= 16 and seen["state"] == "running")
    with stopped(deployed.engines[1].pid):
        assert watch.raised("rank_silent")["counts"]["requests"] >= 1
    watch.cleared("rank_silent")

    deployed.kill(2)
    assert watch.raised("engine_gone")["counts"] == {"subscribed": 2, "expected": 3}
    deployed.respawn(2)
    watch.cleared("engine_gone")

    watch.until(lambda seen: seen["front_ends"] == 2)
    first.kill()
    first.communicate()
    assert watch.raised("front_end_gone")["counts"] == {"subscribed": 1, "before": 2}
    deployed.front_end(requests=0, **TRAFFIC)
    watch.cleared("front_end_gone")

    with zmq.Context() as context, context.socket(zmq.PUSH) as stranger:
        stranger.connect(coordinator.get_engine_socket_addresses()[1])
        stranger.send(b"GET / HTTP/1.1\r\n\r\n")
        assert watch.raised("bad_frames")["counts"] == {"back_output undecodable": 1}

    with stopped(deployed.engines[1].pid):
        os.kill(coordinator.worker_pid(), signal.SIGKILL)
        assert watch.raised("recovery_under_way")["counts"] == {"back": 2, "expected": 3}
    seen = watch.until(lambda seen: seen["recovery"] is not None and "recovery_under_way" not in alarms(seen))
    assert seen["restarts"] == 1
    watch.close()
