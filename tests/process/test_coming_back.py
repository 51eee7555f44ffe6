"""What must not keep a coordinator from coming back, and what is said of it. Real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dp_coordinator.wire.client import READY
from tests.cli.run import run, running
from tests.process.test_journal import standing
from tests.process.test_restart import ENGINES, SERVE, TOKEN, Deployment, addresses_of, deployed, kill, start, state
from tests.signals import stop
from tests.waiting import wait_until


def alarms(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/v1/alarms", timeout=20) as answer:
        return {alarm["kind"]: alarm for alarm in json.load(answer)["alarms"]}


def events(url: str, kind: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/v1/events?since=0&kind={kind}", timeout=20) as answer:
        return [event["fields"] for event in json.load(answer)["events"]]


def said(process: Any, text: str) -> None:
    """Wait for a line of the log."""
    assert any(text in line for line in process.stderr), text


def frozen(process: Any, worker: int) -> None:
    """Keep the supervisor from starting the next worker: kill this one while the supervisor is stopped."""
    stop(process.pid)
    kill(worker)


def test_a_page_whose_port_was_taken_meanwhile_comes_later(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(*SERVE, "--supervised"))
        *ends, url = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        port = int(url.rpartition(":")[2])
        frozen(process, state(url)["pid"])
        with taken_port(port):
            process.send_signal(signal.SIGCONT)
            said(process, "the page: cannot bind --http")
            assert peers.heard_after_ready() == start(0)
        wait_until(lambda: reachable(url), "the page")
        assert state(url)["restarts"] == 1
        assert events(url, "part_works_again") == [{"name": "the page"}]


@contextlib.contextmanager
def taken_port(port: int) -> Iterator[Any]:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_until(lambda: bound(taken, port), "the port")
        taken.listen()
        yield


def bound(taken: Any, port: int) -> Any:
    try:
        taken.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def reachable(url: str) -> Any:
    try:
        return bool(state(url))
    except OSError:
        return False


def test_a_taken_socket_address_is_tried_again_with_an_alarm(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(*SERVE, "--supervised"))
        *ends, url = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        peers.say(0, complete=8)
        assert peers.wave_announced() == [9, False]
        frozen(process, state(url)["pid"])
        with taken_port(int(ends[2].rpartition(":")[2])):
            process.send_signal(signal.SIGCONT)
            wait_until(lambda: reachable(url) and "socket_unreachable" in alarms(url), "the alarm")
            assert f"back_publish: cannot bind back_publish to {ends[2]}" in alarms(url)["socket_unreachable"]["title"]
        assert peers.heard_after_ready() == start(9)
        wait_until(lambda: "socket_unreachable" not in alarms(url), "the end of the alarm")


def test_token_file_recording_folder_and_endpoints_file_may_be_away_for_a_while(tmp_path: Path) -> None:
    things = tmp_path / "things"
    things.mkdir()
    (things / "token").write_text(TOKEN)
    with contextlib.ExitStack() as stack:
        more = ("--token-file", f"{things}/token", "--record", f"{things}/r", "--endpoints-file", f"{things}/e.json")
        process = stack.enter_context(running(*SERVE, "--supervised", *more))
        *ends, _ = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        worker = json.loads((things / "e.json").read_text())["pid"]
        things.rename(tmp_path / "away")
        kill(worker)
        assert peers.heard_after_ready() == start(0)
        said(process, "the recording: --record")
        said(process, "the page: ")
        said(process, "the announcement of the addresses: ")
        (tmp_path / "away").rename(things)
        said(process, "the recording works again")
        wait_until((things / "e.json").exists, "the endpoints file")
        url = json.loads((things / "e.json").read_text())["http_url"]
        request = urllib.request.Request(f"{url}/api/v1/state", headers={"Authorization": f"Bearer {TOKEN}"})
        wait_until(lambda: answers(request), "the page")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            state(url)


def answers(request: Any) -> Any:
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_a_closed_output_does_not_keep_it_from_coming_back() -> None:
    """As when the terminal that it was started from is closed."""
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(*SERVE, "--supervised"))
        *ends, url = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        assert process.stdout is not None
        process.stdout.close()
        kill(state(url)["pid"])
        assert peers.heard_after_ready() == start(0)


# -- what is said ------------------------------------------------------------------------------------------------------


def test_a_stopped_coordinator_is_replaced_and_that_is_said_everywhere() -> None:
    with deployed(hang_timeout=3.0, dialect="0.28") as (coordinator, peers):
        peers.say(1, complete=6)
        assert peers.wave_announced() == [7, False]
        os.kill(coordinator.worker_pid(), signal.SIGSTOP)
        assert peers.heard_after_ready() == start(7)
        assert state(coordinator.http_url)["restarts"] == 1
        (started,) = events(coordinator.http_url, "coordinator_started")
        assert "gave no sign of life for 3" in started["previous"]


def test_what_was_sent_to_a_stopped_coordinator_is_not_lost(tmp_path: Path) -> None:
    """In ten seconds of silence many messages are, and the recovery is safe for the loss of one."""
    journal = str(tmp_path / "journal")
    with deployed(hang_timeout=3.0, dialect="0.28", journal=journal) as (coordinator, peers):
        os.kill(coordinator.worker_pid(), signal.SIGSTOP)
        peers.say(0, complete=0)
        peers.say(1, start=1)
        peers.say(1, complete=1)
        wait_until(lambda: standing(journal).state.current_wave == 2, "what it was told")


def test_a_fresh_start_beside_living_engines_is_not_silent(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(*SERVE, "--supervised", "--journal", str(journal)))
        *_, url = addresses_of(process)
        frozen(process, state(url)["pid"])
        journal.write_bytes(b"")
        process.send_signal(signal.SIGCONT)
        said(process, "A fresh start beside engines that live: no journal was found after a restart")
        *_, url = addresses_of(process)
        wait_until(lambda: "fresh_start" in alarms(url), "the alarm")


def test_engines_whose_waves_are_ahead_show_that_the_start_was_fresh(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(*SERVE))
        *ends, url = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        for engine in range(ENGINES):  # so far ahead one alone is not believed
            peers.say(engine, start=57)
        peers.heard()
        wait_until(lambda: "fresh_start" in alarms(url), "the alarm")
        assert "the first wave heard of is 57" in alarms(url)["fresh_start"]["title"]


def test_a_journal_that_is_removed_is_an_alarm_at_the_next_wave(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with deployed(journal=str(journal)) as (coordinator, peers):
        journal.unlink()
        peers.say(0, complete=4)
        peers.wave_announced()
        wait_until(lambda: "journal_failed" in alarms(coordinator.http_url), "the alarm")
        (failed,) = events(coordinator.http_url, "journal_failed")
        assert f"{journal} was removed by somebody else" in failed["detail"]
        assert standing(str(journal)).state.current_wave == 5


def test_a_socket_file_that_is_removed_is_an_alarm(tmp_path: Path) -> None:
    with deployed() as (coordinator, _):
        os.unlink(coordinator.get_stats_publish_address().removeprefix("ipc://"))
        wait_until(lambda: "socket_unreachable" in alarms(coordinator.http_url), "the alarm")
        assert "front_publish" in alarms(coordinator.http_url)["socket_unreachable"]["title"]


def test_the_same_ipc_paths_twice_are_refused(tmp_path: Path) -> None:
    with deployed() as (coordinator, _):
        address = coordinator.get_stats_publish_address()
        refused = run(*SERVE[:3], "--no-http", "--front-publish-address", address)
        assert refused.returncode == 2
        assert f"cannot bind front_publish to {address}: a living process listens there" in refused.stderr
        assert os.path.exists(address.removeprefix("ipc://"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a stopped process cannot be ended with its parent")
def test_a_stopped_coordinator_does_not_outlive_its_supervisor_and_leaves_no_folder(tmp_path: Path) -> None:
    with running(*SERVE, "--supervised", variables={"TMPDIR": str(tmp_path)}) as process:
        *_, url = addresses_of(process)
        worker = state(url)["pid"]
        os.kill(worker, signal.SIGSTOP)
        process.kill()
        wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "the end of the worker")
    assert list(tmp_path.iterdir()) == []
