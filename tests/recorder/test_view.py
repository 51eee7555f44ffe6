"""`view` over HTTP and the stream: it shows what was, at the time it was, and goes where it is told."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from dp_coordinator.core.events import EngineStatsReported, StartWaveRequested, WaveCompleted
from dp_coordinator.recorder.reader import Source
from dp_coordinator.recorder.timeline import Timeline
from dp_coordinator.viewing import RecordingPlayer
from tests.cli.run import run, running
from tests.recorder.recorded_core import RecordedCore, files
from tests.waiting import wait_until

WAVES = 5


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Five waves of ten seconds each: half of each the engines run."""
    folder = tmp_path_factory.mktemp("recorded")
    with RecordedCore(folder) as recorded:
        recorded.ready()
        for wave in range(WAVES):
            recorded.recording.recorder._requests.checkpoint = True
            recorded.feed(StartWaveRequested(0, wave))
            for step in range(1, 51):
                recorded.feed(
                    *(EngineStatsReported(rank, wave, 10 * wave + rank, 0.5, step, wave) for rank in range(2))
                )
                recorded.turn(0.09)
            recorded.feed(WaveCompleted(0, wave))
            recorded.turn(5.0)
    (file,) = files(folder)
    return file


class Site:
    def __init__(self, url: str) -> None:
        self.url = f"{url}/api/v1"

    def get(self, path: Path) -> Any:
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=20) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> Any:
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{path}", json.dumps(body).encode(), head)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def site(recorded: Any) -> Iterator[Any]:
    with running("view", str(recorded), "--http", "127.0.0.1:0", "--speed", "64") as process:
        assert process.stdout is not None
        assert "recording of" in process.stdout.readline()
        found = Site(process.stdout.readline().split()[1])
        wait_until(lambda: answers(found), "the server")
        yield found


def answers(site: Any) -> Any:
    try:
        return site.get("state")
    except urllib.error.URLError:
        return None


def test_it_plays_to_the_end_and_says_that_it_is_a_recording(site: Any, recorded: Any) -> None:
    wait_until(lambda: site.get("state")["current_wave"] == WAVES, "the last wave")
    wait_until(lambda: site.get("state")["recording"]["paused"], "the end")
    state = site.get("state")
    assert state["recording"]["name"] == recorded.name
    assert state["recording"]["position_s"] == state["recording"]["duration_s"] > 45
    assert state["start_blocked"] == "this is a recording: nothing can be started in it"
    assert [wave["number"] for wave in site.get("waves")["waves"]] == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(("at", "wave", "running"), [(42.0, 4, 81), (2.0, 0, 1), (12.0, 1, 21), (16.5, 2, 21)])
def test_it_goes_to_any_moment_and_stays_there(site: Any, at: float, wave: int, running: Any) -> None:
    told = site.post("view", {"at": at, "paused": True})
    assert (told["position_s"], told["paused"]) == (at, True)
    first, second = site.get("state"), site.get("state")
    assert (first["current_wave"], first["totals"]["running"]) == (wave, running)
    for volatile in (first, second):
        volatile.pop("data_age_s")
    assert first == second, "time stands still"
    assert first["state_age_s"] < 6
    assert len(site.get("history?window_s=60")["at"]) >= min(at, 60) * 5
    assert site.get("history?window_s=60")["at"][-1] == pytest.approx(told["at"], abs=0.2)
    moment = told["at"] - 1.5  # every rank's past is there too, although nobody watched it
    kept = [at for at in site.get(f"history/states?at={moment}")["at"] if at <= moment]
    assert moment - kept[-1] < 1.1


def test_time_goes_as_fast_as_it_is_told(site: Any) -> None:
    site.post("view", {"at": 1.0, "paused": False, "speed": 8})
    wait_until(lambda: site.get("state")["recording"]["position_s"] > 3, "time to pass")
    assert site.post("view", {"paused": True})["speed"] == 8


def test_the_stream_says_so_too_and_is_begun_anew_by_a_jump(site: Any) -> None:
    site.post("view", {"at": 20.0, "paused": True})
    with connect(site.url.replace("http", "ws") + "/stream?since=0") as stream:
        hello, snapshot = json.loads(stream.recv(20)), json.loads(stream.recv(20))
        assert hello["recording"]["position_s"] == snapshot["recording"]["position_s"] == 20.0
        assert snapshot["at"] == pytest.approx(snapshot["recording"]["at"], abs=0.01)
        assert hello["last_seq"] > 0
        site.post("view", {"at": 5.0})
        with pytest.raises(ConnectionClosedError, match="1012"):
            list(iter(lambda: stream.recv(20), None))
    with connect(site.url.replace("http", "ws") + f"/stream?since={hello['last_seq']}") as stream:
        again = json.loads(stream.recv(20))
    assert again["started_at"] != hello["started_at"]
    assert again["last_seq"] < hello["last_seq"]


def test_its_end_is_when_the_last_thing_happened(tmp_path: Path) -> None:
    with RecordedCore(tmp_path) as recorded:
        recorded.ready()
        recorded.log.append(recorded.now + 0.5, "bad_frame", {"channel": "back_output", "verdict": "garbled"})
    (file,) = files(tmp_path)
    player = RecordingPlayer(Timeline([Source(str(file))]), file.name, {}, speed=1.0)
    player.play(speed=None, paused=True, position_s=player.position().duration_s)
    assert player.mailbox.log.since(0)[-1].kind == "bad_frame"


def test_an_entry_that_grew_while_it_was_recorded_is_one_entry(tmp_path: Path) -> None:
    with RecordedCore(tmp_path) as recorded:
        recorded.ready()
        for rank in range(2):
            recorded.log.append(recorded.now, "engine_first_report", {"engine": rank})
            written = recorded.recording.caught_up()
            recorded.turn()
            written.result(20)
    (file,) = files(tmp_path)
    player = RecordingPlayer(Timeline([Source(str(file))]), file.name, {}, speed=1.0)
    player.play(speed=None, paused=True, position_s=player.position().duration_s)
    said = [entry.fields for entry in player.mailbox.log.since(0) if entry.kind == "engine_first_report"]
    assert [(each["engines"], each["repeats"]) for each in said] == [([0, 1], 2)]


def refusal(site: Any, path: str, body: Any) -> Any:
    with pytest.raises(urllib.error.HTTPError) as refused:
        site.post(path, body)
    return refused.value.code, json.loads(refused.value.read())


def test_nothing_can_be_started(site: Any) -> None:
    code, problem = refusal(site, "waves", {"reason": "a try"})
    assert (code, problem["type"]) == (409, "../../problems/recording")


@pytest.mark.parametrize("body", [{"speed": 0}, {"speed": 65}, {"at": -1}, {"at": 1e9}, {"paused": 1}, {"jump": 1}, []])
def test_controls_that_are_none(site: Any, body: bytes) -> None:
    code, problem = refusal(site, "view", body)
    assert (code, problem["type"]) == (422, "../../problems/invalid-body")


def test_what_cannot_be_viewed(recorded: Any, tmp_path: Path) -> None:
    for arguments, said in (
        ((__file__,), "it is no recording of dp-coordinator"),
        ((str(recorded), "--speed", "0"), "--speed: '0' is no speed"),
        ((str(recorded), "--http", "0.0.0.0:0"), "without a token"),
    ):
        refused = run("view", *arguments)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr
