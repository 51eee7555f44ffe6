"""What is written down: every entry of a connection's life and of a wave's, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from dp_coordinator.core.effects import Answer, Effect, LogEvent
from dp_coordinator.core.events import (
    EngineCountChanged,
    Event,
    ManualStartRequested,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.records import completion_record
from dp_coordinator.core.snapshot import ActionState, EndedConnection, StartAction, Wave, WaveCause
from dp_coordinator.words import Channel
from tests.core.connections import connects, disconnects
from tests.core.deployment import BACK, OUTPUT, Deployment
from tests.core.driver import Driver, announced, starts

FRONT = Channel.FRONT_PUBLISH


def entries(effects: list[Effect]) -> list[tuple[str, dict[str, Any]]]:
    return [(effect.kind, dict(effect.fields)) for effect in effects if isinstance(effect, LogEvent)]


# -- connections -------------------------------------------------------------------------------------------------------

COMES_AND_GOES: list[tuple[str, Event, list[tuple[str, dict[str, Any]]]]] = [
    (
        "a front-end comes",
        connects(FRONT, 60, host="10.0.0.7"),
        [("front_end_subscribed", {"front_ends": 1, "peer": "10.0.0.7:60"})],
    ),
    (
        "another one",
        connects(FRONT, 61, host="10.0.0.8"),
        [("front_end_subscribed", {"front_ends": 2, "peer": "10.0.0.8:61"})],
    ),
    (
        "a tap",
        connects(FRONT, 62, socket_type="SUB", host="10.0.0.9"),
        [("tap_connected", {"channel": "front_publish", "peer": "10.0.0.9:62"})],
    ),
    (
        "a tap at the engines",
        connects(BACK, 63, socket_type="SUB", host="10.0.0.9"),
        [("tap_connected", {"channel": "back_publish", "peer": "10.0.0.9:63"})],
    ),
    (
        "a front-end goes",
        disconnects(FRONT, 60),
        [("front_end_unsubscribed", {"front_ends": 1, "peer": "10.0.0.7:60", "why": "connection closed"})],
    ),
    (
        "the tap",
        disconnects(FRONT, 62, "timed out"),
        [("tap_disconnected", {"channel": "front_publish", "peer": "10.0.0.9:62", "why": "timed out"})],
    ),
    (
        "the tap at the engines",
        disconnects(BACK, 63),
        [("tap_disconnected", {"channel": "back_publish", "peer": "10.0.0.9:63", "why": "connection closed"})],
    ),
    (
        "an engine's subscription ends",
        disconnects(BACK, 1002, "timed out"),
        [
            (
                "engine_unsubscribed",
                {"subscribed": 1, "of": 2, "engine": None, "peer": "10.0.0.1:1002", "why": "timed out"},
            )
        ],
    ),
    (
        "and the connection that it reported by",
        disconnects(OUTPUT, 2, "timed out"),
        [("engine_disconnected", {"engine": 1, "peer": "10.0.0.1:2", "why": "timed out"})],
    ),
]


def test_who_comes_and_goes_is_written_down() -> None:
    driver = Deployment().driver
    for what, event, written in COMES_AND_GOES:
        assert entries(driver.feed(event)) == written, what


def test_of_what_ended_it_is_told_since_when_it_was_there_and_when_it_ended() -> None:
    there = Deployment()
    driver = there.driver
    driver.advance_to(3.0)
    driver.feed(connects(FRONT, 60, host="10.0.0.7"))
    there.engine_goes(1)
    driver.advance_to(8.0)
    driver.feed(disconnects(FRONT, 60))
    (left,), (gone,) = there.view.front_ends_left, there.view.gone.values()
    assert isinstance(left, EndedConnection)
    assert (left.since, left.at, left.why) == (3.0, 8.0, "connection closed")
    assert (gone.since, gone.at) == (0.0, 3.0)


@pytest.mark.parametrize("first", [BACK, OUTPUT])
def test_over_ipc_the_process_tells_whose_subscription_ended(first: Channel) -> None:
    there = Deployment(ipc=True)
    if first is OUTPUT:
        there.driver.feed(disconnects(OUTPUT, there.number(1, 0)))
    ((_, fields),) = entries(there.driver.feed(disconnects(BACK, 1000 + there.number(1, 0))))
    assert fields["engine"] == 1


def test_one_beyond_the_last_rank_whose_subscription_ends_is_missed_by_nobody() -> None:
    there = Deployment(ipc=True)
    there.engine_comes(2)
    there.driver.feed(disconnects(BACK, 1000 + there.number(0, 0)))
    there.driver.feed(disconnects(BACK, 1000 + there.number(2, 0)))
    assert list(there.view.gone) == [0]


def test_an_engine_of_somebodys_own_counts_whichever_other_engine_goes() -> None:
    driver = Driver(2, ready=False)
    driver.feed(connects(OUTPUT, 1, socket_type="PUSH", pid=77))
    driver.feed(connects(BACK, 2, socket_type="SUB", pid=77))
    driver.feed(connects(BACK, 3, pid=78))
    assert driver.core.engines_subscribed == 2
    driver.feed(disconnects(BACK, 3))
    assert driver.core.engines_subscribed == 1
    driver.feed(connects(BACK, 4, socket_type="SUB", pid=79))  # a tap
    driver.feed(disconnects(BACK, 4))
    assert driver.core.engines_subscribed == 1


def test_a_link_whose_engine_reports_by_a_newer_one_may_have_lost_what_was_on_its_way() -> None:
    there = Deployment(dialect="0.29")
    there.engine_comes(1, 1)
    there.driver.advance_to(7.0)
    assert starts(there.driver.feed(disconnects(OUTPUT, there.number(1, 0)))) == [(0, None)]
    assert there.driver.core.snapshot(7.0).waves[-1].asked_at == 7.0


def test_a_tap_that_comes_again_has_lost_nothing() -> None:
    driver = Deployment(dialect="0.29").driver
    for channel in (FRONT, BACK):
        driver.feed(connects(channel, 90, socket_type="SUB", host="10.0.0.9"))
        driver.feed(disconnects(channel, 90))
        assert starts(driver.feed(connects(channel, 91, host="10.0.0.9"))) == []
        driver.feed(disconnects(channel, 91))


# -- waves -------------------------------------------------------------------------------------------------------------


def waves(driver: Driver) -> tuple[Wave, ...]:
    return driver.core.snapshot(driver.now).waves


def test_a_wave_is_written_down_from_beginning_to_end() -> None:
    driver = Deployment().driver
    driver.feed(StartWaveRequested(1, wave=0), at=2.0)
    driver.report(0, 4, 5)
    driver.feed(StartWaveRequested(0, wave=0), at=3.0)  # by another engine: it has begun already
    driver.feed(WaveCompleted(0, wave=0), at=5.0)
    (wave,) = waves(driver)
    assert (wave.number, wave.cause, wave.cause_engine) == (0, WaveCause.ENGINE, 1)
    assert (wave.asked_at, wave.started_at, wave.ended_at) == (2.0, 2.0, 5.0)
    assert (wave.completed, wave.confirmed) == (True, True)


def test_a_wave_that_is_overtaken_ends_then_and_was_not_completed() -> None:
    driver = Deployment().driver
    driver.feed(StartWaveRequested(1, wave=0), at=2.0)
    driver.feed(StartWaveRequested(0, wave=1), at=3.0)
    driver.feed(WaveCompleted(0, wave=2), at=5.0)
    first, second, third = waves(driver)
    assert (first.ended_at, first.completed, first.confirmed) == (3.0, False, False)
    assert (second.number, second.cause, second.cause_engine) == (1, WaveCause.ENGINE, 0)
    assert (second.ended_at, second.completed) == (5.0, False)
    assert (third.number, third.cause, third.completed, third.ended_at) == (2, WaveCause.UNKNOWN, True, 5.0)


def test_a_wave_that_was_overtaken_after_all_were_seen_to_step_was_confirmed() -> None:
    driver = Deployment().driver
    driver.feed(StartWaveRequested(1, wave=0), at=2.0)
    driver.report(0, 0, 1, step=1)
    driver.feed(StartWaveRequested(0, wave=1), at=3.0)
    assert [(wave.completed, wave.confirmed) for wave in waves(driver)] == [(False, True), (False, False)]


def test_what_ended_after_it_was_overtaken_was_completed_all_the_same() -> None:
    driver = Deployment().driver
    driver.feed(StartWaveRequested(1, wave=0), at=1.0)
    driver.feed(WaveCompleted(0, wave=0), at=2.0)
    driver.feed(StartWaveRequested(1, wave=1), at=3.0)
    driver.feed(StartWaveRequested(0, wave=2), at=4.0)
    written = entries(driver.feed(WaveCompleted(0, wave=1), at=5.0))
    assert written == [("wave_completed", {"wave": 1, "engine": 0, "cause": "engine", "duration_s": 1.0})]
    first, late, opened = waves(driver)
    assert (first.number, first.completed) == (0, True)
    assert (late.number, late.completed, late.confirmed, late.ended_at) == (1, True, True, 4.0)
    assert (opened.number, opened.completed) == (2, False)


def test_what_was_held_begins_when_it_comes_within_reach() -> None:
    driver = Deployment().driver
    driver.feed(StartWaveRequested(1, wave=13), at=2.0)
    assert waves(driver) == (), "too far ahead, and nobody seconds it"
    driver.feed(WaveCompleted(0, wave=7), at=6.0)
    assert [(wave.number, wave.asked_at) for wave in waves(driver)] == [(7, None), (13, 6.0)]


def test_what_was_held_may_bring_more_of_it_within_reach() -> None:
    driver = Deployment(4).driver
    for said in (StartWaveRequested(3, wave=40), StartWaveRequested(0, wave=19), WaveCompleted(1, wave=10)):
        assert starts(driver.feed(said)) == [], "none is near another one"
    effects = driver.feed(WaveCompleted(2, wave=1), at=6.0)
    assert starts(effects) == [(19, 0)]
    assert announced(effects) == [(2, False), (11, False), (19, True)]


def test_ranks_that_came_after_a_manual_start_were_not_asked_to_join_it() -> None:
    there = Deployment()
    there.driver.feed(ManualStartRequested("because", "me"))
    there.engine_comes(2)
    there.driver.feed(EngineCountChanged(3))
    for rank in (1, 2):
        there.driver.report(rank, 1, 1)
    (action,) = there.driver.core.snapshot(there.driver.now).actions
    assert [rank for rank, _ in action.joined] == [1]


def test_a_rank_that_leaves_starts_a_wave_and_is_none_of_those_that_join_it() -> None:
    driver = Deployment(4).driver
    driver.feed(EngineCountChanged(3), at=10.0)
    driver.feed(disconnects(BACK, 1004))
    assert starts(driver.feed(StartWaveRequested(4, wave=0), at=11.0)) == [], "there was never such a rank"
    assert starts(driver.feed(StartWaveRequested(-1, wave=0))) == []
    assert starts(driver.feed(StartWaveRequested(3, wave=0))) == [(0, 3)]
    driver.feed(StartWaveRequested(0, wave=0))
    assert driver.core.snapshot(driver.now).wave.joined == (0,)


def test_when_nobody_answers_a_start_of_the_next_wave_the_one_that_runs_is_told_of_again() -> None:
    there = Deployment()
    driver = there.driver
    driver.feed(StartWaveRequested(1, wave=0), at=1.0)
    driver.feed(disconnects(OUTPUT, 1))
    driver.feed(connects(OUTPUT, 90, socket_type="PUSH", host="10.0.0.0"))
    (answer,) = (
        each.value
        for each in driver.feed(ManualStartRequested("it hangs", "me", wave=1), at=2.0)
        if isinstance(each, Answer)
    )
    assert isinstance(answer, StartAction)
    assert entries(driver.advance_to(12.0))[-2:] == [
        ("start_unanswered", {"wave": 1}),
        ("wave_started", {"wave": 0, "cause": "unknown", "engine": None}),
    ]
    *_, unanswered, again = waves(driver)
    assert (unanswered.number, unanswered.ended_at, unanswered.completed) == (1, 12.0, False)
    assert (again.number, again.cause, again.cause_engine, again.started_at) == (0, WaveCause.UNKNOWN, None, 12.0)
    (action,) = driver.core.snapshot(12.0).actions
    assert (action.state, action.asked_at, action.finished_at) == (ActionState.CANNOT_TELL, 2.0, 7.0)


def test_a_wave_that_was_announced_is_not_unanswered_though_no_engine_reports() -> None:
    driver = Deployment(dialect="0.28").driver
    driver.feed(NewRequestNotified(0, 0), at=1.0)
    assert driver.core.engines_running
    assert entries(driver.advance_to(60.0)) == []
    assert waves(driver)[-1].ended_at is None


@pytest.mark.parametrize(
    ("asked", "started", "ended", "took"),
    [(1.0, 2.0, 5.0, 4.0), (None, 2.0, 5.0, 3.0), (None, None, 5.0, None), (1.0, 2.0, None, None)],
)
def test_a_wave_took_from_when_it_was_asked_for(
    asked: float | None, started: float | None, ended: float | None, took: float | None
) -> None:
    wave = Wave(3, WaveCause.FRONT_END, None, asked, started, ended, completed=True, peak_waiting=0, peak_running=0)
    assert completion_record(wave, 2) == LogEvent(
        "wave_completed", {"wave": 3, "engine": 2, "cause": "front-end", "duration_s": took}
    )
