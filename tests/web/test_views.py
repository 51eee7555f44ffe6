from __future__ import annotations

import time
from typing import Any

import pytest

from dp_coordinator import messages as m
from dp_coordinator.core.snapshot import Phase, RecoveryPhase, RecoveryState
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.web import views
from dp_coordinator.words import AlarmKind, EngineStatus
from tests.web.builders import snapshot, wave
from tests.web.rig import ENDPOINTS

RUNNING = {"phase": Phase.RUNNING, "engines_running": True}
STARTING = {"phase": Phase.STARTING, "engines_running": True}


@pytest.mark.parametrize(
    ("reported_at", "state", "now", "status"),
    [
        (None, RUNNING, 200.0, "never"),
        (99.0, RUNNING, 100.0, "fresh"),
        (50.0, RUNNING, 94.9, "fresh"),  # silent for long, but the wave is young
        (50.0, RUNNING, 95.1, "stale"),
        (92.0, RUNNING, 96.9, "fresh"),
        (92.0, RUNNING, 97.1, "stale"),
        (50.0, STARTING, 95.1, "stale"),
        (50.0, {"phase": Phase.STARTING, "engines_running": False}, 200.0, "fresh"),  # asked for, not known to run
        (50.0, {}, 5000.0, "fresh"),  # paused engines have nothing to say
    ],
)
def test_a_rank_is_stale_only_while_it_has_something_to_report(
    reported_at: float | None, state: dict[str, Any], now: float, status: EngineStatus
) -> None:
    assert views.statuses(snapshot((reported_at,), **state), now, 5.0) == m.Statuses(status, {})


def rows(reported_at: tuple[float | None, ...], **changes: Any) -> list[m.Engine]:
    return views.columns(snapshot(reported_at, **changes), 100.0, 5.0).rows()


def test_the_status_of_most_ranks_is_said_once() -> None:
    reported_at = (99.0, None, 10.0, 99.0, 10.0, 99.0)
    assert views.statuses(snapshot(reported_at, **RUNNING), 100.0, 5.0) == m.Statuses(
        EngineStatus.FRESH, {EngineStatus.STALE: [2, 4], EngineStatus.NEVER: [1]}
    )
    assert [row.status for row in rows(reported_at, **RUNNING)] == [
        "fresh",
        "never",
        "stale",
        "fresh",
        "stale",
        "fresh",
    ]


@pytest.mark.parametrize(
    ("changes", "alarms", "told"),
    [
        ({"phase": Phase.STARTING, "asked_at": 99.2}, (), []),
        ({"phase": Phase.STARTING, "asked_at": 99.0}, (), [("starting", "warn")]),
        ({"phase": Phase.STARTING, "asked_at": 99.0}, ("asked_not_stepping",), []),
        ({"phase": Phase.STARTING}, (), []),
        ({"phase": Phase.RUNNING, "asked_at": 99.0}, (), []),
        ({"recovery": RecoveryState(RecoveryPhase.REJOINING, 3, 90.0, 1, 2, None)}, (), [("recovery", "warn")]),
        ({"recovery": RecoveryState(RecoveryPhase.REJOINING, 3, 90.0, 1, 2, None)}, ("recovery_under_way",), []),
        ({"recovery": RecoveryState(RecoveryPhase.DONE, 3, 60.0, 2, 2, 71.0)}, (), [("recovery", "good")]),
        ({"recovery": RecoveryState(RecoveryPhase.DONE, 3, 60.0, 2, 2, 69.0)}, (), []),
    ],
)
def test_what_is_told_in_passing(
    changes: dict[str, Any], alarms: tuple[AlarmKind, ...], told: list[tuple[str, str]]
) -> None:
    notices = views.notices(snapshot((None, None), **changes), alarms, 100.0)
    assert [(notice.kind, notice.tone) for notice in notices] == told
    assert all(notice.text for notice in notices)


def test_what_was_never_reported_is_null_and_not_zero() -> None:
    never, zero = rows((None, 99.5))[0], rows((99.5, None))[0]
    assert (never.waiting, never.running, never.kv_cache_usage, never.age_s) == (None, None, None, None)
    assert (zero.waiting, zero.running, zero.kv_cache_usage, zero.age_s) == (0, 0, 0.0, 0.5)


def test_waves_are_newest_first_with_their_durations() -> None:
    open_one = wave(4, ended_at=None, completed=False, asked_at=None, started_at=98.0)
    only_end = wave(2, asked_at=None, started_at=None)
    made = views.waves(snapshot(waves=(only_end, wave(3), open_one)), 2, 100.0, views.WallClock())
    assert [(w.number, w.open, w.duration_s) for w in made] == [(4, True, 2.0), (3, False, 10.0)]
    assert views.wave(only_end, 100.0, views.WallClock()).duration_s is None


def test_the_wall_clock_stays_still_for_one_moment_and_follows_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = views.WallClock()
    moment = time.monotonic()
    first = clock.of(moment)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 0.1)
    assert clock.of(moment) == first
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert clock.of(moment) == pytest.approx(first + 3600, abs=0.1)


def test_the_data_is_as_old_as_the_loops_last_word() -> None:
    mailbox = Mailbox(snapshot(), ENDPOINTS, min_stats_update_interval=0.1)
    mailbox.loop_alive_at = 108.0
    assert views.data_age(mailbox, mailbox.snapshot, 108.0) == 0.05  # idle: nothing new, but the loop turns
    assert views.data_age(mailbox, mailbox.snapshot, 118.0) == 10.05  # stuck
    mailbox.loop_alive_at = 60.0
    assert views.data_age(mailbox, mailbox.snapshot, 101.0) == 1.0


def test_state_and_stream_tell_the_same() -> None:
    seen = snapshot((99.0, None, 98.0), phase=Phase.RUNNING, engines_running=True, stepping=(2,), asked_at=91.0)
    mailbox = Mailbox(seen, ENDPOINTS, min_stats_update_interval=0.1)
    clock = views.WallClock()
    state = views.state(mailbox, seen, 100.0, 5.0, clock)
    message = views.snapshot_message(mailbox, seen, [], 100.0, clock, stale_after=5.0)
    for name in set(state.__struct_fields__) & set(message.__struct_fields__) - {"engines"}:
        assert getattr(state, name) == getattr(message, name), name
    assert state.engines == message.engines.rows()
    assert [e.index for e in state.engines if e.stepping] == list(message.engines.stepping) == [2]
