"""PUT /api/v1/wave and /api/v1/engine-count."""

from __future__ import annotations

from typing import Any

import pytest

from dp_coordinator.core.events import EngineCountChanged, StartWaveRequested
from tests.web.rig import TOKEN, Site, site
from tests.web.test_rest import problem

WAVE = {"reason": "engines are at 57", "wave": 57, "expected_wave": 0}


def entries(running: Site, kind: str) -> list[dict[str, object]]:
    return [dict(e.fields) for e in running.mailbox.log.since(0) if e.kind == kind]


def test_the_wave_is_set(fresh: Site) -> None:
    fresh.loop.feed(StartWaveRequested(1, 57))
    response = fresh.http.put("/api/v1/wave", json=WAVE)
    assert (response.status_code, response.json()) == (200, {"corrected": "wave", "before": 0, "after": 57})
    assert fresh.http.get("/api/v1/state").json()["current_wave"] == 57
    [entry] = entries(fresh, "wave_set")
    assert entry == {"before": 0, "after": 57, "reason": "engines are at 57", "caller": "127.0.0.1"}
    problem(fresh.http.put("/api/v1/wave", json=WAVE), 409, "wave_mismatch")
    problem(fresh.http.put("/api/v1/wave", json=WAVE | {"wave": 2**32 - 1, "expected_wave": 57}), 422, "wave_invalid")
    assert [entry["refusal"] for entry in entries(fresh, "correction_refused")] == ["wave_mismatch", "wave_invalid"]


def test_the_engine_count_is_set(fresh: Site) -> None:
    count = fresh.loop.core.engine_count
    fresh.loop.feed(EngineCountChanged(1))
    body = {"reason": "a stray SCALE", "engine_count": count, "expected_engine_count": 1}
    response = fresh.http.put("/api/v1/engine-count", json=body)
    assert (response.status_code, response.json()["after"]) == (200, count)
    assert fresh.http.get("/api/v1/state").json()["engine_count"] == count
    problem(fresh.http.put("/api/v1/engine-count", json=body), 409, "count_mismatch")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"reason": ""}, "1 to 500 characters"),
        ({"wave": -1}, "`wave` must be 0 to"),
        ({"expected_wave": 2**60}, "`expected_wave` must be 0 to"),
        ({"expected_wave": None}, "Expected `int`, got `null`"),
        ({"wave": "57"}, "Expected `int`, got `str`"),
        ({"engine_count": 4}, "unknown field `engine_count`"),
    ],
)
def test_bodies_that_cannot_be_used(fresh: Site, change: dict[str, Any], says: str) -> None:
    told = problem(fresh.http.put("/api/v1/wave", json=WAVE | change), 422, "invalid-body")
    assert says in told["detail"]
    assert [entry["refusal"] for entry in entries(fresh, "correction_refused")] == ["invalid-body"]
    assert fresh.loop.core.current_wave == 0


def test_it_needs_the_token_and_the_pages_own_origin() -> None:
    with site(token=TOKEN) as running:
        for path in ("wave", "engine-count"):
            problem(running.http.put(f"/api/v1/{path}", json=WAVE), 401, "unauthorized")
            told = running.http.put(f"/api/v1/{path}", json=WAVE, headers={"Origin": "http://elsewhere.example"})
            problem(told, 403, "bad-origin")
        refused = [entry["refusal"] for entry in entries(running, "correction_refused")]
        assert refused == ["unauthorized", "bad-origin"] * 2
        assert running.loop.core.current_wave == 0
