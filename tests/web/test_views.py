from __future__ import annotations

import time
from typing import Any

import pytest

from dp_coordinator.core.snapshot import ActionState, Phase
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.web import views
from tests.web.builders import action, snapshot, wave
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
    reported_at: float | None, state: dict[str, Any], now: float, status: str
) -> None:
    seen = views.engine(snapshot((reported_at,), **state), 0, now, 5.0)
    assert seen.status == status


def test_what_was_never_reported_is_null_and_not_zero() -> None:
    never, zero = views.engines(snapshot((None, 99.5)), 100.0, 5.0)[0], views.engines(snapshot((99.5, None)), 100, 5)[0]
    assert (never.waiting, never.running, never.kv_cache_usage, never.age_s) == (None, None, None, None)
    assert (zero.waiting, zero.running, zero.kv_cache_usage, zero.age_s) == (0, 0, 0.0, 0.5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "asked 2.0 s ago; 0 of 4 ranks seen so far; not yet: 0, 1, 2, 3"),
        ({"seen": ((2, 0.01),)}, "asked 2.0 s ago; 1 of 4 ranks seen so far; not yet: 0, 1, 3"),
        (
            {
                "state": ActionState.OBSERVED,
                "seen": ((0, 0.01), (1, 0.02), (2, 0.03), (3, 0.0414)),
                "finished_at": 100.0414,
            },
            "4 of 4 ranks stepping after 41 ms",
        ),
        (
            {"state": ActionState.TIMED_OUT, "seen": ((0, 0.1), (2, 0.2)), "finished_at": 105.0},
            "2 of 4 ranks seen after 5.0 s; silent: 1, 3",
        ),
        (
            {"state": ActionState.TIMED_OUT, "engine_count": 20, "finished_at": 105.0},
            "0 of 20 ranks seen after 5.0 s; silent: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 and 4 more",
        ),
    ],
)
def test_an_action_says_what_was_seen_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    assert views.summary(action(**changes), 102.0) == sentence


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0414, "41 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (5, "5.0 s"), (-1, "0 ms")]
)
def test_durations_are_told_in_the_unit_people_would_use(seconds: float, text: str) -> None:
    assert views.duration(seconds) == text


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
    message = views.snapshot_message(mailbox, seen, [], 100.0, clock)
    for name in set(state.__struct_fields__) & set(message.__struct_fields__) - {"engines"}:
        assert getattr(state, name) == getattr(message, name), name
    assert [e.age_s for e in state.engines] == message.engines.age_s
    assert [e.index for e in state.engines if e.stepping] == message.engines.stepping == [2]
