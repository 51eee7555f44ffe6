"""The clients and the examples against a real coordinator process."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dp_coordinator.client import EngineClient, FrontendClient, StartWave
from dp_coordinator.handle import DPCoordinator

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def coordinator() -> Iterator[DPCoordinator]:
    with DPCoordinator(2, http=None, min_stats_update_interval_ms=10) as coordinator:
        yield coordinator


def test_a_wave_from_start_to_end(coordinator: DPCoordinator) -> None:
    back = coordinator.get_engine_socket_addresses()
    front = coordinator.get_stats_publish_address()
    with EngineClient(0, *back) as first, EngineClient(1, *back) as second, FrontendClient(front) as front_end:
        first.wait_ready(timeout=10)
        second.wait_ready(timeout=10)
        while front_end.load is None:
            front_end.wait_update(timeout=10)
        assert front_end.engine_count == 2
        first.start_wave(0)
        first.report_stats(waiting=2, running=1, kv_cache_usage=0.25)
        assert second.receive_start(timeout=10) == StartWave(0, 0)
        while not (front_end.engines_running and front_end.load and front_end.load.engines[0].waiting):
            front_end.wait_update(timeout=10)
        assert front_end.load.engines == ((2, 1, 0.25), (0, 0, 0.0))
        assert front_end.pick_engine() == 1
        first.wave_complete(0)
        while front_end.engines_running:
            front_end.wait_update(timeout=10)
        assert front_end.current_wave == 1


def test_an_old_dialect_s_notice_wakes_the_others() -> None:
    with DPCoordinator(2, http=None, dialect="0.16") as coordinator:
        back = coordinator.get_engine_socket_addresses()
        front = coordinator.get_stats_publish_address()
        with (
            EngineClient(0, *back, dialect="0.16") as first,
            EngineClient(1, *back, dialect="0.16") as second,
            FrontendClient(front, dialect="0.16") as front_end,
        ):
            first.wait_ready(timeout=10)
            second.wait_ready(timeout=10)
            front_end.wait_update(timeout=10)
            assert front_end.notify_new_request(1)
            assert first.receive_start(timeout=10) == second.receive_start(timeout=10) == StartWave(0, 1)


def run(name: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("suffix", ["", "_asyncio"])
def test_the_examples_work_as_written(coordinator: DPCoordinator, suffix: str) -> None:
    back = coordinator.get_engine_socket_addresses()
    with EngineClient(1, *back) as other, FrontendClient(coordinator.get_stats_publish_address()) as watcher:
        engine = run(f"engine{suffix}.py", "0", *back)
        other.wait_ready(timeout=20)
        assert other.receive_start(timeout=20) == StartWave(0, 0)
        while watcher.current_wave != 1:
            watcher.wait_update(timeout=20)
        front_end = run(f"front_end{suffix}.py", coordinator.get_stats_publish_address())
        assert front_end.stdout is not None
        waiting = 0
        while not select.select([front_end.stdout], [], [], 0.05)[0]:
            waiting += 1  # an unchanged load is published every five seconds only
            other.report_stats(waiting=waiting, running=0, current_wave=1)
        lines = [front_end.stdout.readline() for _ in range(3)]
        other.start_wave(1)
        assert engine.communicate(timeout=20)[0] == "READY: every engine is there\nwoken for wave 1\n"
        lines += front_end.communicate(timeout=20)[0].splitlines(keepends=True)
        assert (engine.returncode, front_end.returncode) == (0, 0)
        assert lines[0] == "engine 0: 0 waiting, 0 running\n"
        assert lines[2].startswith("send it to engine ")
        assert lines[3] == "engines run wave 1\n"
