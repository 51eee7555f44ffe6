from __future__ import annotations

import json
from dataclasses import replace

import msgspec

from dp_coordinator import messages as m
from dp_coordinator.web.past import COARSE_SAMPLES, FINE_SAMPLES, Past
from dp_coordinator.web.stream.broadcaster import Broadcaster
from dp_coordinator.web.views import WallClock
from dp_coordinator.words import DeploymentState
from tests.web.builders import columns, snapshot, wave
from tests.web.watching import broadcaster_over


def test_ten_a_second_for_a_minute_and_one_a_second_for_an_hour() -> None:
    past, clock = Past(), WallClock()
    for tick in range(2 * 36_000):
        past.add(snapshot(waiting=tick), tick / 10, bytes)
    now = 7200.0
    whole = past.totals(3600, now, clock)
    assert len(whole.at) == FINE_SAMPLES + COARSE_SAMPLES - 60
    assert whole.at == sorted(whole.at)
    assert len(past.totals(30, now, clock).at) == 300
    assert whole.waiting[-1] == 2 * 36_000 - 1


def test_a_wave_shorter_than_a_second_stays_visible_in_the_coarse_part() -> None:
    past, clock = Past(), WallClock()
    for tick in range(1300):
        busy = tick == 5
        state = DeploymentState.RUNNING if busy else DeploymentState.PAUSED
        past.add(snapshot(state=state, running=8 if busy else 0, waiting=None), tick / 10, bytes)
    seen = past.totals(3600, 130.0, clock)
    assert seen.running[:3] == [8, 0, 0]
    assert seen.state[:2] == ["running", "paused"]
    assert set(seen.waiting) == {None}  # never reported is not zero


def test_samples_that_come_too_fast_are_left_out() -> None:
    past = Past()
    for tick in range(1000):
        past.add(snapshot(), tick / 1000, bytes)
    assert len(past.totals(60, 1.0, WallClock()).at) <= 20


def told(broadcaster: Broadcaster, moment: float) -> m.StateHistory:
    """What REST answers, through its text and back. Here Unix seconds are monotonic ones."""
    answer = broadcaster._past.states(moment, WallClock(lambda: 0.0))
    return msgspec.json.decode(msgspec.json.encode(answer), type=m.StateHistory)


def test_every_second_the_whole_state_is_kept_as_it_was() -> None:
    broadcaster, mailbox = broadcaster_over()
    for tick in range(1250):
        now = tick / 10
        engines = replace(columns((None, now - 0.256)), running=(None, tick), kv_cache_usage=(None, 0.123456))
        mailbox.snapshot = snapshot((None, now), engines=engines, running=tick, current_wave=tick // 300)
        broadcaster.sample(now)
    first, second = told(broadcaster, 0), told(broadcaster, 60.4)
    assert first.at == [float(second) for second in range(60)]
    assert (first.until, first.oldest_at) == (60.0, 0.0)
    assert second.at[0] == 60.0
    state = second.states[7]
    assert (second.at[7], state.current_wave, state.totals.running) == (67.0, 2, 670)
    assert state.engines.running == [None, 670]
    assert state.engines.age_s == [None, 0.26]
    assert state.engines.kv_cache_usage == [None, 0.123]
    newest = told(broadcaster, 1e9)
    assert (newest.at[0], newest.at[-1], newest.until) == (120.0, 124.0, None)


def test_before_the_first_state_there_is_nothing_and_it_says_where_it_begins() -> None:
    broadcaster, _ = broadcaster_over()
    assert told(broadcaster, 5) == m.StateHistory(at=[], states=[], until=None, oldest_at=None)
    broadcaster.sample(10.0)
    assert told(broadcaster, 9.9) == m.StateHistory(at=[], states=[], until=10.0, oldest_at=10.0)
    assert told(broadcaster, 10.0).at == [10.0]
    broadcaster.begin_anew()
    assert told(broadcaster, 10.0).oldest_at is None


def test_a_state_is_found_by_the_time_that_was_told_for_it() -> None:
    broadcaster, _ = broadcaster_over()
    for tick in range(130):
        broadcaster.sample(tick * 1.0004 + 0.0004)  # told in whole milliseconds, rounded down
    for first in (0, 60, 120):
        page = told(broadcaster, told(broadcaster, first + 1).at[0])
        assert page.at[0] <= first + 1
        assert json.loads(msgspec.json.encode(page))["states"]


def test_alarms_are_kept_as_they_stood() -> None:
    broadcaster, mailbox = broadcaster_over()
    open_wave = wave(4, asked_at=0.0, started_at=0.0, ended_at=None, completed=False, peak_waiting=1)
    asked = snapshot((0.0, 0.0), state=DeploymentState.STARTING, state_since=0.0, waiting=1, waves=(open_wave,))
    for tick in range(100):
        mailbox.snapshot = asked
        mailbox.loop_alive_at = tick / 10
        broadcaster.sample(tick / 10)
    states = told(broadcaster, 0).states
    assert [alarm.kind for alarm in states[2].alarms] == []
    assert [alarm.kind for alarm in states[8].alarms] == ["asked_not_stepping"]
