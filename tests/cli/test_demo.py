"""The demo as a process, looked at and acted on through the rest_commands of REST."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.cli.run import rest, run, running
from tests.waiting import wait_until

QUIET_DEMO = ("demo", "--engines", "2", "--front-ends", "1", "--no-traffic", "--http", "127.0.0.1:0")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The page of a demo whose engines are all there and paused."""
    with running(*QUIET_DEMO) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("dashboard: "), (line, "" if line else rest(process.stderr))
        address = line.split()[1]
        wait_for("ready_sent", address)
        yield address


def wait_for(kind: str, address: str) -> None:
    """Follow the event log until it holds an event of this kind."""
    with running("events", "--follow", "--json", "--since", "0", "--kind", kind, "--url", address) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["kind"] == kind


def test_a_wave_started_by_hand_wakes_every_rank(url: str) -> None:
    done = run("start-wave", "--reason", "to see it", "--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Confirmed after" in done.stdout
    assert "all 2 ranks step" in done.stdout
    wait_for("wave_completed", url)
    shown = run("waves", "--url", url).stdout.splitlines()
    assert shown[1].split()[:3] == ["0", "completed", "manual"]
    asked = json.loads(run("events", "--kind", "manual_start_asked", "--json", "--url", url).stdout)["events"]
    assert [event["fields"]["reason"] for event in asked] == ["to see it"]


def test_what_cannot_be_is_refused_with_the_reason(url: str) -> None:
    done = run("start-wave", "--reason", "too far", "--expected-wave", "99", "--url", url)
    assert done.returncode == 1
    assert done.stderr.startswith("dp-coordinator start-wave: refused: ")
    assert "99" in done.stderr
    refused = json.loads(run("events", "--kind", "manual_start_refused", "--json", "--url", url).stdout)["events"]
    assert [event["fields"]["reason"] for event in refused] == ["too far"]


def test_state_and_engines_show_the_ranks(url: str) -> None:
    state = json.loads(run("state", "--json", "--url", url).stdout)
    assert (state["engine_count"], state["engines_subscribed"], state["front_ends"]) == (2, 2, 1)
    assert len(run("engines", "--url", url).stdout.splitlines()) == 3


def test_an_address_that_is_taken_is_a_sentence(url: str) -> None:
    done = run("demo", "--http", url.removeprefix("http://"))
    assert done.returncode == 2
    assert "--http" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demo_ends_cleanly() -> None:
    with running(*QUIET_DEMO) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert process.wait(30) == 0
        assert "Traceback" not in rest(process.stderr)


@pytest.mark.parametrize("more", [(), ("--supervised",)], ids=["alone", "supervised"])
def test_one_that_is_killed_leaves_no_folder(more: tuple[str, ...]) -> None:
    # A long path, as tests have them, would have it choose another folder.
    with (
        tempfile.TemporaryDirectory(prefix="dpc-") as short,
        running(*QUIET_DEMO, *more, variables={"TMPDIR": short}) as process,
    ):
        assert process.stdout is not None
        assert any("Ctrl-C" in line for line in process.stdout)
        assert os.listdir(short) != []
        process.kill()
        wait_until(lambda: not os.listdir(short), "the end of its folders")


ENDED_IN_ITS_START = """
import os, select, signal, sys
from dp_coordinator.simulation import demo
from dp_coordinator.simulation.options import DemoOptions

class Kept(demo.Lifetime):
    def __enter__(self):
        Kept.one = self
        return super().__enter__()

def ended(*told, **more):
    os.kill(os.getpid(), signal.SIGTERM)
    select.select([Kept.one], [], [])
    raise demo.CoordinatorStartError("the coordinator process ended with exit code 0 before it was bound")

demo.Lifetime, demo.DPCoordinator = Kept, ended
sys.exit(demo.run_demo(DemoOptions()))
"""


def test_a_signal_to_the_whole_group_in_its_start_is_no_mistake_of_the_user() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDED_IN_ITS_START], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
