"""A coordinator that came back, as REST, the stream, health and metrics tell it, from one phase to the next."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from websockets.sync.client import ClientConnection

from dp_coordinator import messages as m
from dp_coordinator.core.events import EngineSubscribed
from dp_coordinator.core.snapshot import Remembered
from tests.web.rig import Site, complete, site
from tests.web.test_metrics import plain, scrape
from tests.web.test_rest import problem

BACK, ALL_BACK = [EngineSubscribed()] * 3, [EngineSubscribed()] * 4


@dataclass(frozen=True)
class Phase:
    """What leads to a phase, and what is told in it."""

    events: list[Any]
    name: str
    engines_back: int
    current_wave: int
    start_blocked: str | None
    ready: bool
    check: str


PHASES = [
    Phase(
        BACK,
        "rejoining",
        3,
        57,
        "3 of 4 engines have subscribed again after the restart; START goes out by itself once all have",
        False,
        "3 of 4 engines are back after the restart; START goes out once all are",
    ),
    Phase(
        ALL_BACK,
        "settling",
        4,
        57,
        None,
        True,
        "4 of 4 engines are back after the restart; START was sent, and the end of a wave is awaited",
    ),
    Phase([*ALL_BACK, complete(57)], "done", 4, 58, None, True, "the restart was recovered from"),
]


@pytest.fixture
def came_back() -> Iterator[Site]:
    """Restarted for the second time, while wave 57 was current and four engines had READY."""
    with site(4, core={"restarts": 2, "resumed": Remembered(57, 4, True)}) as running:
        yield running


@pytest.fixture(params=PHASES, ids=lambda phase: phase.name)
def phase(request: pytest.FixtureRequest, came_back: Site) -> Phase:
    told: Phase = request.param
    came_back.loop.feed(*told.events)
    return told


def test_state(came_back: Site, phase: Phase) -> None:
    state = msgspec.json.decode(came_back.get("/api/v1/state").content, type=m.State)
    recovery = state.recovery
    assert recovery is not None
    assert (recovery.phase, recovery.resumed_wave) == (phase.name, 57)
    assert (recovery.engines_back, recovery.engines_expected) == (phase.engines_back, 4)
    assert (recovery.finished_at is not None) == (phase.name == "done")
    if recovery.finished_at is not None:
        assert 0 <= recovery.finished_at - recovery.resumed_at < 60
    assert (state.restarts, state.pid) == (2, os.getpid())
    assert (state.current_wave, state.start_blocked) == (phase.current_wave, phase.start_blocked)


def messages(viewer: ClientConnection) -> Iterator[dict[str, Any]]:
    """What a viewer is sent, one by one."""
    while True:
        told = json.loads(viewer.recv(5))
        yield from told if isinstance(told, list) else [told]


def test_stream(came_back: Site, phase: Phase) -> None:
    with came_back.stream() as viewer:
        snapshot = next(told for told in messages(viewer) if told["type"] == "snapshot")
    state = came_back.get("/api/v1/state").json()
    assert snapshot["recovery"] == state["recovery"]
    assert snapshot["recovery"]["phase"] == phase.name
    assert snapshot["restarts"] == 2


def test_a_viewer_is_told_of_each_phase_as_it_begins(came_back: Site) -> None:
    with came_back.stream() as viewer:
        recoveries = (told["recovery"] for told in messages(viewer) if told["type"] == "snapshot")

        def until(phase: str, back: int) -> None:
            next(told for told in recoveries if (told["phase"], told["engines_back"]) == (phase, back))

        until("rejoining", 0)
        came_back.loop.feed(EngineSubscribed())
        until("rejoining", 1)
        came_back.loop.feed(*BACK)
        until("settling", 4)
        came_back.loop.feed(complete(57))
        until("done", 4)


def test_ready(came_back: Site, phase: Phase) -> None:
    response = came_back.get("/readyz?verbose")
    checks = (response.json() if phase.ready else problem(response, 503, "not-ready"))["checks"]
    assert [check["name"] for check in checks] == ["loop", "engines", "recovery"]
    assert checks[2] == {"name": "recovery", "ok": phase.ready, "detail": phase.check}
    if not phase.ready:
        assert response.json()["detail"] == phase.check
    assert came_back.get("/livez").status_code == 200  # to restart it once more would help nobody


def test_metrics(came_back: Site, phase: Phase) -> None:
    found = scrape(came_back)
    assert plain(found, "restarts") == 2
    assert plain(found, "recovering") == (phase.name != "done")
    assert plain(found, "current_wave") == phase.current_wave


def test_start_by_hand(came_back: Site, phase: Phase) -> None:
    answer = came_back.start()
    if phase.start_blocked is None:
        assert answer.status_code == 202
    else:
        assert phase.start_blocked in problem(answer, 409, "not_ready")["detail"]


def test_the_waves_and_the_log(came_back: Site) -> None:
    came_back.loop.feed(*ALL_BACK, complete(57))
    waves = came_back.get("/api/v1/waves").json()["waves"]
    assert [(wave["number"], wave["cause"], wave["open"]) for wave in waves] == [
        (58, "recovery", True),
        (57, "recovery", False),
    ]
    kinds = [event["kind"] for event in came_back.get("/api/v1/events").json()["events"]]
    assert [kind for kind in kinds if kind != "engine_subscribed"] == [
        *("engines_rejoined", "wave_asked", "wave_completed", "wave_asked", "recovery_finished"),
    ]


def test_without_engines_to_wait_for_there_is_nothing_to_recover() -> None:
    with site(4, core={"restarts": 1, "resumed": Remembered(0, 4, False)}) as running:
        state = running.get("/api/v1/state").json()
        assert (state["restarts"], state["recovery"]) == (1, None)
        assert problem(running.get("/readyz"), 503, "not-ready")["detail"].startswith("READY was not sent yet")
        assert plain(scrape(running), "recovering") == 0


def test_a_first_life_has_no_restart(shared: Site) -> None:
    state = shared.get("/api/v1/state").json()
    assert (state["restarts"], state["recovery"]) == (0, None)
    assert [check["name"] for check in shared.get("/readyz?verbose").json()["checks"]] == ["loop", "engines"]
    assert plain(scrape(shared), "restarts") == 0


def test_events_tell_whose_they_are(shared: Site, came_back: Site) -> None:
    starts = {running.get("/api/v1/events").json()["started_at"] for running in (shared, came_back)}
    with came_back.stream() as viewer:
        assert json.loads(viewer.recv(5))["started_at"] in starts
    assert len(starts) == 2
