"""A coordinator that dies and comes back, seen by raw peers: same addresses, same wave, a wake-up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import deque

import pytest
import zmq

from dp_coordinator.handle import CoordinatorStartError, DPCoordinator
from dp_coordinator.journal import last_entry
from dp_coordinator.wire.client import READY
from tests.cli.run import announced, run, running
from tests.transport.rig import Peer, pack, unpack, wait_until

ENGINES = 2
TOKEN = "0123456789abcdef"


class Deployment:
    """Engines and one front-end with raw sockets."""

    def __init__(self, stack, front_publish, back_output, back_publish):
        self._context = stack.enter_context(zmq.Context())
        stack.callback(self._context.destroy, linger=0)
        self._back_publish = back_publish
        self._inbox = {}
        self._poller = zmq.Poller()
        self.engines = []
        for _ in range(ENGINES):
            self.add_engine()
        self.outputs = [Peer(self._context, zmq.PUSH, back_output) for _ in range(ENGINES)]
        self.front_end = self._subscriber(front_publish)

    def add_engine(self):
        self.engines.append(self._subscriber(self._back_publish))

    def _subscriber(self, address):
        peer = Peer(self._context, zmq.XSUB, address)
        self._inbox[peer.socket] = deque()
        self._poller.register(peer.socket, zmq.POLLIN)
        return peer

    def say(self, engine, *, complete=None, start=None):
        self.outputs[engine].send(pack([engine, [], None, 0.0, None, None, complete, start, None]))

    def heard(self):
        """What each engine is sent next."""
        return self._next(self.engines, lambda frames: False)

    def heard_after_ready(self):
        """What each engine is sent next that is not READY; engines since vLLM 0.18 pass over a second one."""
        return self._next(self.engines, lambda frames: frames == [READY])

    def wave_announced(self):
        """The next wave state that the front-end is told, as [wave, running]."""
        (frames,) = self._next([self.front_end], lambda frames: unpack(frames[0])[0] is not None)
        return unpack(frames[0])[1:]

    def _next(self, peers, passed_over):
        inboxes = [self._inbox[peer.socket] for peer in peers]

        def all_have_one():
            for inbox in inboxes:
                while inbox and passed_over(inbox[0]):
                    inbox.popleft()
            return all(inboxes)

        self._poll_until(all_have_one)
        return [inbox.popleft() for inbox in inboxes]

    def _poll_until(self, condition):
        """Everybody polls all the time, as in vLLM: a socket that nobody polls does not subscribe again."""
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self._inbox
            for each, _ in self._poller.poll(100):
                self._inbox[each].append(each.recv_multipart())


def start(wave, exclude=None):
    return [[b"\x02", pack((wave, exclude))]] * ENGINES


@contextlib.contextmanager
def deployed(**options):
    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(DPCoordinator(ENGINES, supervised=True, **options))
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        peers = Deployment(stack, coordinator.get_stats_publish_address(), back_output, back_publish)
        assert peers.heard() == [[READY]] * ENGINES
        yield coordinator, peers


def state(url):
    with urllib.request.urlopen(f"{url}/api/v1/state", timeout=20) as answer:
        return json.load(answer)


def kill(pid):
    os.kill(pid, signal.SIGKILL)


LOOPBACK = {f"{name}_address": "tcp://127.0.0.1:*" for name in ("front_publish", "back_output", "back_publish")}


@pytest.mark.parametrize("dialect", ["0.16", "0.28", "0.33"])
@pytest.mark.parametrize("addresses", [{}, LOOPBACK], ids=["ipc", "tcp"])
def test_it_comes_back_with_its_wave_and_wakes_everybody_twice(dialect, addresses):
    with deployed(dialect=dialect, **addresses) as (coordinator, peers):
        peers.say(1, complete=56)
        assert peers.wave_announced() == [57, False]
        kill(coordinator.worker_pid())
        woken = peers.heard() if dialect == "0.16" else peers.heard_after_ready()  # a second READY kills old engines
        assert woken == start(57)
        assert peers.wave_announced() == [57, False]
        peers.say(0, complete=57)
        assert peers.heard() == start(58)
        assert peers.wave_announced() == [58, False]
        peers.say(0, complete=58)
        assert peers.wave_announced() == [59, False]
        peers.say(1, start=59)
        assert peers.heard() == start(59, 1)  # nothing in between


def test_rest_tells_of_the_restart_at_the_same_address():
    with deployed() as (coordinator, peers):
        before = state(coordinator.http_url)
        assert (before["restarts"], before["recovery"], before["pid"]) == (0, None, coordinator.worker_pid())
        peers.say(0, complete=4)
        peers.wave_announced()
        kill(before["pid"])
        peers.heard_after_ready()
        after = state(coordinator.http_url)
        assert (after["restarts"], after["current_wave"], after["pid"]) == (1, 5, coordinator.worker_pid())
        assert after["pid"] != before["pid"]
        assert (after["endpoints"], after["recovery"]["phase"]) == (before["endpoints"], "settling")
        assert (after["recovery"]["resumed_wave"], after["recovery"]["engines_back"]) == (5, ENGINES)
        peers.say(0, complete=5)
        peers.heard()
        wait_until(lambda: state(coordinator.http_url)["recovery"]["phase"] == "done", "the end of the recovery")


def test_it_survives_one_death_after_the_other():
    with deployed(dialect="0.28") as (coordinator, peers):
        for wave in range(1, 6):
            kill(coordinator.worker_pid())
            assert peers.heard_after_ready() == start(wave - 1)
            peers.say(0, complete=wave - 1)
            assert peers.heard() == start(wave)
        assert state(coordinator.http_url)["restarts"] == 5


def test_dying_before_all_engines_have_come_costs_nothing():
    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(DPCoordinator(ENGINES + 1, supervised=True))
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        peers = Deployment(stack, coordinator.get_stats_publish_address(), back_output, back_publish)
        wait_until(lambda: state(coordinator.http_url)["engines_subscribed"] == ENGINES, "the first engines")
        kill(coordinator.worker_pid())
        peers.add_engine()
        assert peers.heard() == [[READY]] * (ENGINES + 1)
        assert state(coordinator.http_url)["recovery"] is None


def test_the_supervisors_death_takes_the_coordinator_along():
    with deployed() as (coordinator, _):
        worker = os.pidfd_open(coordinator.worker_pid())
        coordinator.proc.kill()
        poller = zmq.Poller()
        poller.register(worker, zmq.POLLIN)
        assert poller.poll(20_000), "the worker outlived its supervisor"
        os.close(worker)


def test_nothing_is_left_behind():
    with deployed() as (coordinator, _):
        worker, folder = coordinator.worker_pid(), os.path.dirname(coordinator.get_stats_publish_address()[6:])
        assert os.path.exists(f"{folder}/journal")
    assert coordinator.proc.exitcode == 0
    assert not os.path.exists(folder)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize("content", [b"not a journal\n", b"\0" * 4096])
def test_a_damaged_journal_is_an_error_and_no_restart(tmp_path, content):
    journal = tmp_path / "journal"
    journal.write_bytes(content)
    with pytest.raises(CoordinatorStartError, match="is damaged, or no journal of dp-coordinator"):
        DPCoordinator(ENGINES, supervised=True, journal=str(journal))
    assert journal.read_bytes() == content


def test_a_journal_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(CoordinatorStartError, match=r"--journal .*/none/journal cannot be opened for writing"):
        DPCoordinator(ENGINES, supervised=True, journal=str(tmp_path / "none" / "journal"))


@pytest.mark.parametrize("supervised", [False, True])
def test_whoever_started_it_may_be_killed_and_no_folder_is_left(tmp_path, supervised):
    code = (
        "import sys, time; from dp_coordinator.handle import DPCoordinator as C\n"
        f"c = C(2, supervised={supervised}, http=None, **{LOOPBACK}); print(c.proc.pid, flush=True); time.sleep(60)"
    )
    command, environment = [sys.executable, "-c", code], os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        assert len(list(tmp_path.iterdir())) == 1
        process.kill()
    wait_until(lambda: list(tmp_path.iterdir()) == [], "the folder to go")


# -- on the command line -------------------------------------------------------------------------------------------

SERVE = ("serve", "--engine-count", str(ENGINES), "--http", "127.0.0.1:0", "--dialect", "0.32")


def addresses_of(process):
    where = announced(process)
    return where["front_publish"], where["back_output"], where["back_publish"], where["dashboard"]


def test_serve_supervised_comes_back_where_it_was():
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(*SERVE, "--supervised"))
        *ends, url = first = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        peers.say(0, complete=8)
        assert peers.wave_announced() == [9, False]
        worker = state(url)["pid"]
        assert worker != process.pid
        kill(worker)
        assert peers.heard_after_ready() == start(9)
        assert addresses_of(process) == first
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_serve_with_a_journal_goes_on_in_its_next_process(tmp_path):
    """What an operator does to put a new version under engines that stay."""
    journal = str(tmp_path / "journal")
    with contextlib.ExitStack() as stack:
        with running(*SERVE, "--journal", journal) as process:
            *ends, _ = first = addresses_of(process)
            peers = Deployment(stack, *ends)
            assert peers.heard() == [[READY]] * ENGINES
            peers.say(0, complete=8)
            assert peers.wave_announced() == [9, False]
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        assert last_entry(journal).state.current_wave == 9
        with running(*SERVE, "--journal", journal) as process:
            assert addresses_of(process) == first
            assert peers.heard_after_ready() == start(9)
        refused = run("serve", "--engine-count", "3", "--no-http", "--journal", journal)
        assert (refused.returncode, "belongs to a coordinator with --engine-count 2, not 3" in refused.stderr) == (
            2,
            True,
        )


def test_engines_whose_ready_died_with_the_coordinator_are_given_another(tmp_path):
    journal = str(tmp_path / "journal")
    with running(*SERVE, "--journal", journal) as process, contextlib.ExitStack() as stack:
        *ends, _ = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        kill(process.pid)
    assert last_entry(journal).state.ready
    with running(*SERVE, "--journal", journal), contextlib.ExitStack() as stack:
        peers = Deployment(stack, *ends)  # as if what the first ones heard had been lost on its way
        assert peers.heard() == [[READY]] * ENGINES
        assert peers.heard_after_ready() == start(0)


# -- what must not keep it from coming back ----------------------------------------------------------------------------


def alarms(url):
    with urllib.request.urlopen(f"{url}/api/v1/alarms", timeout=20) as answer:
        return {alarm["kind"]: alarm for alarm in json.load(answer)["alarms"]}


def events(url, kind):
    with urllib.request.urlopen(f"{url}/api/v1/events?since=0&kind={kind}", timeout=20) as answer:
        return [event["fields"] for event in json.load(answer)["events"]]


def said(process, text):
    """Wait for a line of the log."""
    assert any(text in line for line in process.stderr), text


def frozen(process, worker):
    """Keep the supervisor from starting the next worker: kill this one while the supervisor is stopped."""
    process.send_signal(signal.SIGSTOP)
    kill(worker)


def test_a_page_whose_port_was_taken_meanwhile_comes_later(tmp_path):
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
def taken_port(port):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_until(lambda: bound(taken, port), "the port")
        taken.listen()
        yield


def bound(taken, port):
    try:
        taken.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def reachable(url):
    try:
        return bool(state(url))
    except OSError:
        return False


def test_a_taken_socket_address_is_tried_again_with_an_alarm(tmp_path):
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


def test_token_file_recording_folder_and_endpoints_file_may_be_away_for_a_while(tmp_path):
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


def answers(request):
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_a_closed_output_does_not_keep_it_from_coming_back():
    """As when the terminal that it was started from is closed."""
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(*SERVE, "--supervised"))
        *ends, url = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        process.stdout.close()
        kill(state(url)["pid"])
        assert peers.heard_after_ready() == start(0)


# -- what is said ------------------------------------------------------------------------------------------------------


def test_a_stopped_coordinator_is_replaced_and_that_is_said_everywhere():
    with deployed(hang_timeout=3.0, dialect="0.28") as (coordinator, peers):
        peers.say(1, complete=56)
        assert peers.wave_announced() == [57, False]
        os.kill(coordinator.worker_pid(), signal.SIGSTOP)
        assert peers.heard_after_ready() == start(57)
        assert state(coordinator.http_url)["restarts"] == 1
        (started,) = events(coordinator.http_url, "coordinator_started")
        assert "gave no sign of life for 3" in started["previous"]


def test_what_was_sent_to_a_stopped_coordinator_is_not_lost(tmp_path):
    """In ten seconds of silence many messages are, and the recovery is safe for the loss of one."""
    journal = str(tmp_path / "journal")
    with deployed(hang_timeout=3.0, dialect="0.28", journal=journal) as (coordinator, peers):
        os.kill(coordinator.worker_pid(), signal.SIGSTOP)
        peers.say(0, complete=0)
        peers.say(1, start=1)
        peers.say(1, complete=1)
        wait_until(lambda: last_entry(journal).state.current_wave == 2, "what it was told")


def test_a_fresh_start_beside_living_engines_is_not_silent(tmp_path):
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


def test_engines_whose_waves_are_ahead_show_that_the_start_was_fresh(tmp_path):
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(*SERVE))
        *ends, url = addresses_of(process)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * ENGINES
        peers.say(0, start=57)
        peers.heard()
        wait_until(lambda: "fresh_start" in alarms(url), "the alarm")
        assert "the first wave heard of is 57" in alarms(url)["fresh_start"]["title"]


def test_a_journal_that_is_removed_is_an_alarm_at_the_next_wave(tmp_path):
    journal = tmp_path / "journal"
    with deployed(journal=str(journal)) as (coordinator, peers):
        journal.unlink()
        peers.say(0, complete=4)
        peers.wave_announced()
        wait_until(lambda: "journal_failed" in alarms(coordinator.http_url), "the alarm")
        (failed,) = events(coordinator.http_url, "journal_failed")
        assert f"{journal} was removed by somebody else" in failed["detail"]
        assert last_entry(str(journal)).state.current_wave == 5


def test_a_socket_file_that_is_removed_is_an_alarm(tmp_path):
    with deployed() as (coordinator, _):
        os.unlink(coordinator.get_stats_publish_address().removeprefix("ipc://"))
        wait_until(lambda: "socket_unreachable" in alarms(coordinator.http_url), "the alarm")
        assert "front_publish" in alarms(coordinator.http_url)["socket_unreachable"]["title"]


def test_the_same_ipc_paths_twice_are_refused(tmp_path):
    with deployed() as (coordinator, _):
        address = coordinator.get_stats_publish_address()
        refused = run(*SERVE[:3], "--no-http", "--front-publish-address", address)
        assert refused.returncode == 2
        assert f"cannot bind front_publish to {address}: a living process listens there" in refused.stderr
        assert os.path.exists(address.removeprefix("ipc://"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a stopped process cannot be ended with its parent")
def test_a_stopped_coordinator_does_not_outlive_its_supervisor_and_leaves_no_folder(tmp_path):
    with running(*SERVE, "--supervised", variables={"TMPDIR": str(tmp_path)}) as process:
        *_, url = addresses_of(process)
        worker = state(url)["pid"]
        os.kill(worker, signal.SIGSTOP)
        process.kill()
        wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "the end of the worker")
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_is_wrong_is_said_once_and_not_tried_again():
    refused = run(*SERVE, "--supervised", "--journal", "/nonexistent/journal")
    assert refused.returncode == 2
    assert refused.stderr.count("/nonexistent/journal") == 1
    assert "starting it again" not in refused.stderr
