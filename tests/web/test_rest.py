from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

import msgspec
import pytest

from dp_coordinator import messages as m
from dp_coordinator import requests
from dp_coordinator.core.snapshot import ActionState
from dp_coordinator.web.problems import KINDS
from tests.recorder.recorded_core import RecordedCore, replayed, whole
from tests.web.builders import action
from tests.web.rig import Site, complete, site, start_wave, stats


def problem(response: Any, status: int, kind: str, below: str = "") -> dict[str, Any]:
    """Check that a response is a well-formed problem, and give it. `below`: the path under which a proxy shows us."""
    told: dict[str, Any] = response.json()
    assert response.status_code == status == told["status"], told
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    asked = response.url.raw_path.decode()
    assert urljoin(asked, told["type"]) == f"{below}/problems/{kind}"
    assert told["title"]
    assert told["detail"]
    assert unquote(urljoin(asked, told["instance"])).partition("?")[0] == response.url.path
    assert not {told["type"][0], told["instance"][0]} & {"/"}  # a proxy may show us under a path of its choice
    msgspec.convert(told, requests.Problem)
    return told


def test_state_before_anything_was_reported(shared: Site) -> None:
    state = msgspec.json.decode(shared.get("/api/v1/state").content, type=m.State)
    assert (state.current_wave, state.engines_running, state.state) == (0, False, "paused")
    assert (state.engine_count, state.engines_subscribed, state.ready) == (4, 4, True)
    assert state.totals == m.Totals(None, None, None)
    assert [e.status for e in state.engines] == ["never"] * 4
    assert state.endpoints.back_output == "tcp://127.0.0.1:2"
    assert state.min_stats_update_interval_ms == 100
    assert state.start_blocked is None


def test_a_wave_from_start_to_end(fresh: Site) -> None:
    fresh.loop.feed(start_wave(engine=2), stats(2, waiting=1, running=3))
    state = fresh.get("/api/v1/state").json()
    assert (state["state"], state["engines_running"], state["wave"]["joined"]) == ("running", True, [2])
    assert state["totals"] == {"waiting": 1, "running": 3, "left_out": None}
    assert (state["wave"]["number"], state["wave"]["confirmed_by"], state["state_tone"]) == (0, None, "plain")
    assert state["start_blocked"] == "wave 0 is running already"
    [wave] = fresh.get("/api/v1/waves").json()["waves"]
    assert (wave["number"], wave["cause"], wave["cause_engine"], wave["open"]) == (0, "engine", 2, True)
    fresh.loop.feed(complete())
    [wave] = fresh.get("/api/v1/waves").json()["waves"]
    assert (wave["open"], wave["completed"], wave["peak_running"]) == (False, True, 3)
    assert fresh.get("/api/v1/state").json()["current_wave"] == 1
    kinds = [e["kind"] for e in fresh.get("/api/v1/events").json()["events"]]
    assert kinds[-4:] == ["wave_asked", "wave_started", "engine_first_report", "wave_completed"]


def test_the_peaks_of_a_wave_of_which_only_the_end_was_seen_are_not_known(fresh: Site) -> None:
    fresh.loop.feed(complete())
    [wave] = fresh.get("/api/v1/waves").json()["waves"]
    assert (wave["completed"], wave["cause"], wave["peak_waiting"], wave["peak_running"]) == (
        True,
        "unknown",
        None,
        None,
    )


def test_engines_and_one_engine(fresh: Site) -> None:
    fresh.loop.feed(stats(1, waiting=5, running=0, step=0, wave=0))
    listed = msgspec.json.decode(fresh.get("/api/v1/engines").content, type=m.EnginePage).engines
    alone = msgspec.json.decode(fresh.get("/api/v1/engines/1").content, type=m.Engine)
    assert [e.index for e in listed] == [0, 1, 2, 3]
    assert (alone.index, alone.waiting, alone.running, alone.status) == (1, 5, 0, "working")
    assert alone.kv_cache_usage == 0.25
    assert (
        problem(fresh.get("/api/v1/engines/4"), 404, "not-found")["detail"] == "there is no engine 4: they are 0 to 3"
    )


def test_events_by_number_kind_and_limit(fresh: Site) -> None:
    for number in range(3):
        fresh.loop.feed(start_wave(number), complete(number))
    ends = fresh.get("/api/v1/events?kind=wave_completed&kind=ready_sent&since=0").json()
    assert [e["kind"] for e in ends["events"]] == ["ready_sent"] + ["wave_completed"] * 3
    first = fresh.get("/api/v1/events?since=0&limit=2").json()
    assert [(e["first_seq"], e["seq"]) for e in first["events"]] == [(1, 4), (5, 5)]  # four engines subscribed
    assert first["next_since"] == 5
    second = fresh.get(f"/api/v1/events?limit=1000&since={first['next_since']}").json()
    assert [e["seq"] for e in second["events"]] == list(range(6, first["last_seq"] + 1))
    assert not second["truncated"]
    assert abs(second["events"][-1]["at"] - time.time()) < 60


def test_history_grows_by_itself(fresh: Site) -> None:
    with fresh.stream() as viewer:
        for _ in range(3):  # hello, the first snapshot, and one that the sampler made
            viewer.recv(5)
    told = msgspec.json.decode(fresh.get("/api/v1/history?window_s=60").content, type=m.History)
    columns = [getattr(told, name) for name in told.__struct_fields__]
    assert len({len(column) for column in columns}) == 1
    assert len(told.at) >= 2
    assert set(told.engines_subscribed) <= {0, 4}


def test_the_states_around_a_moment_have_every_rank(fresh: Site) -> None:
    fresh.loop.feed(stats(2, waiting=3, running=5, step=7))
    with fresh.stream() as viewer:
        for _ in range(3):
            viewer.recv(5)
    page = msgspec.json.decode(fresh.get(f"/api/v1/history/states?at={time.time()}").content, type=m.StateHistory)
    assert len(page.at) == len(page.states) >= 1
    assert page.oldest_at == page.at[0]
    assert [len(state.engines.running) for state in page.states] == [4] * len(page.at)
    unknown = problem(fresh.get("/api/v1/history/states?at=1&window_s=5"), 422, "invalid-parameter")
    assert "window_s" in unknown["detail"]
    missing = problem(fresh.get("/api/v1/history/states"), 422, "invalid-parameter")
    assert "'at'" in missing["detail"]


def test_an_action_tells_what_was_seen(fresh: Site) -> None:
    made = fresh.start()
    path = urljoin("/api/v1/waves", made.headers["location"])
    assert fresh.get(path).json()["state"] == "asked"
    fresh.loop.feed(start_wave(engine=1))
    seen = msgspec.json.decode(fresh.get(path).content, type=m.Action)
    assert (seen.state, [s.engine_index for s in seen.joined], seen.silent) == ("asked", [1], [0, 2, 3])
    fresh.loop.tick(60)
    late = msgspec.json.decode(fresh.get(path).content, type=m.Action)
    assert (late.state, late.silent) == ("cannot_tell", [0, 2, 3])
    assert "joined by rank 1 (1 of 4), step not confirmed yet" in late.summary
    assert "start-7" in problem(fresh.get("/api/v1/actions/start-7"), 404, "not-found")["detail"]


def test_an_observed_action_names_nobody_as_silent(fresh: Site) -> None:
    path = urljoin("/api/v1/waves", fresh.start().headers["location"])
    fresh.loop.feed(start_wave(), stats(0, step=1))
    seen = fresh.get(path).json()
    assert (seen["state"], seen["silent"], seen["confirmed_by"]) == ("observed", [], "rank 0, step 1")
    assert seen["summary"].startswith("Confirmed after")
    assert action(state=ActionState.OBSERVED, confirmed_by="rank 0, step 1").silent == ()


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/waves?limit=0",
        "/api/v1/waves?limit=1001",
        "/api/v1/waves?limit=-1",
        "/api/v1/waves?limit=",
        "/api/v1/waves?limit=ten",
        "/api/v1/waves?limit=1.5",
        "/api/v1/events?since=-1",
        "/api/v1/events?since=99999999999999999999",
        "/api/v1/events?limit=1001",
        "/api/v1/events?kind=",
        "/api/v1/events?kind=" + "x" * 65,
        "/api/v1/events?" + "&".join(["kind=a"] * 33),
        "/api/v1/history?window_s=0",
        "/api/v1/history?window_s=3601",
        "/api/v1/history?window_s=nan",
        "/api/v1/history?window_s=inf",
        "/api/v1/history/states?at=",
        "/api/v1/history/states?at=-1",
        "/api/v1/history/states?at=nan",
        "/api/v1/history/states?at=inf",
        "/api/v1/history/states?at=yesterday",
        "/api/v1/engines/-1",
        "/api/v1/engines/one",
        "/api/v1/engines/99999999999999999999",
        "/api/v1/actions/" + "x" * 101,
    ],
)
def test_parameters_out_of_bounds_say_what_would_be_right(shared: Site, path: str) -> None:
    told = problem(shared.get(path), 422, "invalid-parameter")
    assert "parameter '" in told["detail"]
    assert any(word in told["detail"] for word in ("should", "must"))


@pytest.mark.parametrize("path", ["/api/v1/state", "/api/v1/waves", "/api/v1/events", "/api/v1/engines/0"])
def test_a_misspelt_parameter_is_not_ignored(shared: Site, path: str) -> None:
    told = problem(shared.get(f"{path}?limt=5"), 422, "invalid-parameter")
    assert "unknown query parameter 'limt'" in told["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v1/state/",
        "/nothing",
        "//etc/passwd",
        "/assets/../../x",
        "/%2e%2e/x",
    ],
)
def test_what_is_not_there(shared: Site, path: str) -> None:
    problem(shared.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/v1/state", "GET"),
        ("DELETE", "/api/v1/waves", "GET, POST"),
        ("GET", "/api/v1/login", "POST"),
        ("POST", "/livez", "GET"),
        ("PATCH", "/api/v1/engines/1", "GET"),
    ],
)
def test_methods_that_do_not_work(shared: Site, method: str, path: str, allowed: str) -> None:
    response = shared.http.request(method, path)
    told = problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == allowed
    assert allowed in told["detail"]


def test_head_is_get_without_the_body(shared: Site) -> None:
    head = shared.http.head("/api/v1/session")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(shared.get("/api/v1/session").content))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_of_problem_is_explained_at_its_type(shared: Site, kind: str) -> None:
    assert KINDS[kind][1] in shared.get(f"/problems/{kind}").text


def test_an_unknown_kind_of_problem(shared: Site) -> None:
    assert "invalid-body" in problem(shared.get("/problems/nothing"), 404, "not-found")["detail"]


def test_a_defect_is_a_problem_too_and_is_logged(fresh: Site, caplog: pytest.LogCaptureFixture) -> None:
    fresh.mailbox.snapshot = None  # type: ignore[assignment]
    told = problem(fresh.get("/api/v1/state"), 500, "internal")
    assert "NoneType" not in told["detail"]
    assert "/api/v1/state" in caplog.text
    assert fresh.get("/livez").status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/health"])
def test_alive_as_long_as_the_loop_turns(path: str) -> None:
    with site() as running:
        assert running.get(path).json() == {"ok": True, "checks": []}
        [check] = running.get(f"{path}?verbose").json()["checks"]
        assert check["name"] == "loop"
        running.loop.seem_stuck(11)
        told = problem(running.get(path), 503, "not-alive")
        assert "the loop last turned 1" in told["detail"]


def test_ready_once_every_engine_subscribed() -> None:
    with site(2) as running:
        told = problem(running.get("/readyz"), 503, "not-ready")
        assert told["detail"] == "READY was not sent yet: 0 of 2 engines have subscribed"
        assert [c["ok"] for c in told["checks"]] == [True, False]
        running.loop.subscribe_all()
        assert running.get("/readyz").json() == {"ok": True, "checks": []}
        assert [c["name"] for c in running.get("/readyz?verbose=1").json()["checks"]] == ["loop", "engines"]
        running.loop.seem_stuck(11)
        problem(running.get("/readyz"), 503, "not-alive")


def test_a_loop_that_is_stuck_does_not_keep_its_recording(
    fresh: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dp_coordinator.web.api.recording.CATCH_UP_S", 0.05)
    with RecordedCore(tmp_path) as recorded:  # and it is never turned
        fresh.mailbox.recording = recorded.recording
        answer = fresh.get("/api/v1/recording")
    assert answer.status_code == 200
    (tmp_path / "it.dprec").write_bytes(answer.content)
    assert whole(replayed(tmp_path / "it.dprec"))
