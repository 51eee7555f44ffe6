"""Start-up, subscriptions, scaling, and what was observed of waves."""

from __future__ import annotations

from typing import Any

import pytest

from dp_coordinator.core.effects import Effect, Reject, SendReady, WriteJournal
from dp_coordinator.core.events import (
    EngineCountChanged,
    ManualStartRequested,
    NewRequestNotified,
    PeerDisconnected,
    PeerIdentified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.snapshot import Remembered, WaveCause
from dp_coordinator.words import DeploymentState
from tests.core.connections import engine_subscribes, engine_unsubscribes, front_end_subscribes, front_end_unsubscribes
from tests.core.driver import Driver, announced, records, starts


def ready_count(effects: list[Effect]) -> Any:
    return sum(isinstance(e, SendReady) for e in effects)


@pytest.mark.parametrize("dialect", ["0.16", "0.18", "0.33"])
def test_ready_goes_out_once_all_engines_subscribed(dialect: str) -> None:
    driver = Driver(engine_count=3, dialect=dialect, ready=False)
    assert ready_count(driver.feed(engine_subscribes())) == 0
    assert ready_count(driver.feed(engine_subscribes())) == 0
    assert ready_count(driver.feed(engine_subscribes())) == 1


def test_an_engine_that_left_again_before_ready_does_not_count() -> None:
    driver = Driver(ready=False)
    driver.feed(engine_subscribes())
    driver.feed(engine_unsubscribes())
    assert ready_count(driver.feed(engine_subscribes())) == 0
    assert ready_count(driver.feed(engine_subscribes())) == 1


@pytest.mark.parametrize(("dialect", "again"), [("0.16", 0), ("0.17", 0), ("0.18", 1), ("0.33", 1)])
def test_later_subscribers_get_ready_only_where_a_second_one_kills_nobody(dialect: str, again: Any) -> None:
    driver = Driver(dialect=dialect)
    assert ready_count(driver.feed(engine_subscribes())) == again


def test_a_notice_before_ready_is_kept_and_acted_on_after_it() -> None:
    driver = Driver(dialect="0.32", ready=False)
    assert driver.feed(NewRequestNotified(1, 0)) == []
    driver.feed(engine_subscribes())
    effects = driver.feed(engine_subscribes())
    kinds = [type(e).__name__ for e in effects]
    assert kinds.index("SendReady") < kinds.index("BroadcastStartWave")
    assert starts(effects) == [(0, 1)]


@pytest.mark.parametrize("dialect", ["0.16", "0.29", "0.33"])
@pytest.mark.parametrize("held", [[NewRequestNotified(1, 0)], [StartWaveRequested(0, 3)], [WaveCompleted(0, 3)], []])
def test_what_follows_from_ready_is_written_down_before_ready_is_sent(dialect: str, held: Any) -> None:
    driver = Driver(dialect=dialect, ready=False)
    for event in held:
        driver.feed(event)
    driver.feed(engine_subscribes())
    first, *others = driver.feed(engine_subscribes())
    assert first == WriteJournal(Remembered(driver.core.current_wave, 2, ready=True))
    assert not [effect for effect in others if isinstance(effect, WriteJournal)]
    assert ready_count(others) == 1


@pytest.mark.parametrize("flood", [NewRequestNotified, StartWaveRequested, WaveCompleted])
def test_a_flood_before_ready_pushes_nobody_elses_message_out(flood: Any) -> None:
    """Of each rank the newest is kept, so what is kept is bounded."""
    driver = Driver(dialect="0.32", ready=False)
    assert driver.feed(StartWaveRequested(1, 0)) == []
    for number in range(1500):
        driver.feed(flood(0, number % 5 if flood is NewRequestNotified else 0))
    assert len(driver.core.state.held) == 2
    driver.feed(engine_subscribes())
    effects = driver.feed(engine_subscribes())
    assert isinstance(effects[0], WriteJournal)
    assert isinstance(effects[2], SendReady)
    assert starts(effects)[0] == (0, 1)


def test_a_notice_that_nobody_sends_any_more_is_refused_before_ready_too() -> None:
    driver = Driver(ready=False)
    assert [e.kind for e in driver.feed(NewRequestNotified(0, 0)) if isinstance(e, Reject)] == ["notice_not_spoken"]
    driver.feed(engine_subscribes())
    assert not [e for e in driver.feed(engine_subscribes()) if isinstance(e, Reject)]


def test_the_end_of_a_connection_that_nobody_knew_is_no_news() -> None:
    driver = Driver(ready=False)
    assert driver.feed(PeerDisconnected(77, "connection closed")) == []
    assert driver.feed(PeerIdentified(77, 1)) == []
    assert (driver.core.engines_subscribed, driver.core.snapshot(0).front_ends) == (0, 0)


def test_front_ends_are_counted() -> None:
    driver = Driver()
    driver.feed(front_end_subscribes())
    driver.feed(front_end_subscribes())
    driver.feed(front_end_unsubscribes())
    assert driver.core.snapshot(0).front_ends == 1


@pytest.mark.parametrize(("dialect", "running"), [("0.16", False), ("0.17", False), ("0.18", True), ("0.33", True)])
def test_growth_drops_the_running_flag_only_in_old_generations(dialect: str, running: Any) -> None:
    driver = Driver(dialect=dialect)
    driver.feed(StartWaveRequested(0, 0))
    driver.feed(engine_subscribes())
    driver.feed(engine_subscribes())
    effects = driver.feed(EngineCountChanged(4))
    assert driver.core.engines_running is running
    assert announced(effects) == []
    driver.feed(EngineCountChanged(2))
    assert driver.core.engines_running is running


# -- asked and observed --------------------------------------------------------------------------------------------


def phase(driver: Driver) -> Any:
    return driver.core.snapshot(driver.now).state


def test_a_start_is_not_running_until_a_rank_works_and_not_confirmed_until_one_has_stepped() -> None:
    driver = Driver(dialect="0.28")
    driver.report(0, 0, 0)
    assert phase(driver) is DeploymentState.PAUSED
    driver.feed(NewRequestNotified(1, 0))
    assert phase(driver) is DeploymentState.STARTING
    driver.report(1, 1, 0, wave=0, step=0)  # it has a request, and has not stepped yet
    assert phase(driver) is DeploymentState.STARTING
    driver.report(1, 0, 1, wave=0, step=0)
    assert phase(driver) is DeploymentState.RUNNING
    assert driver.core.snapshot(0).wave.joined == (1,)
    assert driver.core.snapshot(0).wave.confirmed_by is None, "it may be alone in its step"
    driver.advance_to(2.0)
    driver.report(1, 0, 2, wave=0, step=1)  # a step is collective: all ranks took it
    wave = driver.core.snapshot(0).wave
    assert (wave.joined, wave.confirmed_at, wave.confirmed_by) == ((1,), 2.0, "rank 1, step 1")
    driver.feed(WaveCompleted(0, 0))
    assert phase(driver) is DeploymentState.PAUSED


def test_the_phase_changes_when_start_is_asked_for_and_when_it_goes_unanswered() -> None:
    driver = Driver(dialect="0.32")
    driver.feed(NewRequestNotified(1, 0), at=1.0)
    snapshot = driver.core.snapshot(1.0)
    assert (snapshot.state, snapshot.state_since, snapshot.engines_running) == (DeploymentState.STARTING, 1.0, False)
    driver.feed(NewRequestNotified(0, 0), at=4.0)  # asked again: it is starting since the first
    assert (driver.core.snapshot(4.0).state_since, driver.core.snapshot(4.0).wave.asked_at) == (1.0, 1.0)
    assert records(driver.advance_to(13.9)) == []
    assert records(driver.advance_to(14.0)) == ["start_unanswered"]
    snapshot = driver.core.snapshot(15.0)
    assert (snapshot.state, snapshot.state_since, snapshot.wave.asked_at) == (DeploymentState.PAUSED, 14.0, None)


def test_a_wave_that_was_announced_is_starting_until_a_rank_works_and_one_rank_is_enough() -> None:
    driver = Driver(dialect="0.28")
    driver.report(0, 0, 0)
    driver.feed(NewRequestNotified(1, 0))
    assert (phase(driver), driver.core.engines_running) == (DeploymentState.STARTING, True)
    driver.report(1, 0, 1)
    assert (phase(driver), driver.core.snapshot(0).wave.joined) == (DeploymentState.RUNNING, (1,))


def test_a_manual_start_that_only_some_ranks_join_runs_and_is_not_confirmed() -> None:
    driver = Driver()
    driver.feed(ManualStartRequested("why", "test"))
    assert phase(driver) is DeploymentState.STARTING
    for joined in ((1,), (0, 1)):
        driver.report(2 - len(joined), 0, 1)
        wave = driver.core.snapshot(0).wave
        assert (phase(driver), wave.joined, wave.confirmed_at) == (DeploymentState.RUNNING, joined, None)


@pytest.mark.parametrize(
    ("report", "state", "confirmed"),
    [
        ((0, 0, 0, 1), DeploymentState.RUNNING, "rank 1, step 1"),
        ((0, 0, 1, 1), DeploymentState.RUNNING, "rank 1, step 1"),
        ((0, 1, 0, 0), DeploymentState.RUNNING, None),
        ((1, 0, 0, 0), DeploymentState.STARTING, None),
        ((0, 9, -1, 9), DeploymentState.STARTING, None),
    ],
)
def test_what_a_report_shows_of_a_wave(report: Any, state: DeploymentState, confirmed: str | None) -> None:
    driver = Driver()
    driver.feed(WaveCompleted(0, 4))
    driver.report(1, 0, 0, wave=4, step=7)
    driver.feed(StartWaveRequested(0, 5))
    waiting, running, ahead, step = report
    driver.report(1, waiting, running, wave=5 + ahead, step=step)
    assert (phase(driver), driver.core.snapshot(0).wave.confirmed_by) == (state, confirmed)


def test_start_wave_shows_that_its_sender_joined_and_no_more() -> None:
    driver = Driver()
    driver.report(0, 0, 0)
    driver.feed(StartWaveRequested(1, 0), at=3.0)
    wave = driver.core.snapshot(0).wave
    assert phase(driver) is DeploymentState.STARTING
    assert (wave.number, wave.asked_at, wave.announced_at, wave.joined) == (0, 3.0, 3.0, (1,))


def test_where_no_rank_ever_reports_a_wave_that_was_announced_runs() -> None:
    driver = Driver()
    driver.feed(StartWaveRequested(0, 0))
    assert phase(driver) is DeploymentState.RUNNING
    assert driver.core.snapshot(0).wave.confirmed_at is None
    driver.report(1, 1, 0)  # they do report, and then there is better evidence to wait for
    assert phase(driver) is DeploymentState.STARTING


def test_it_waits_for_engines_and_serves_where_there_are_no_waves() -> None:
    driver = Driver(8, ready=False, wave_coordination=False)
    assert phase(driver) is DeploymentState.WAITING
    for _ in range(7):
        driver.feed(engine_subscribes())
    assert phase(driver) is DeploymentState.WAITING
    driver.feed(engine_subscribes(), at=5.0)
    driver.report(0, 0, 92)
    snapshot = driver.core.snapshot(6.0)
    assert (snapshot.state, snapshot.state_since) == (DeploymentState.SERVING, 5.0)


def test_it_recovers_until_all_engines_are_back() -> None:
    driver = Driver()
    driver.feed(StartWaveRequested(0, 0))
    driver.restart()
    assert phase(driver) is DeploymentState.RECOVERING
    driver.feed(engine_subscribes())
    assert phase(driver) is DeploymentState.RECOVERING
    driver.feed(engine_subscribes())
    assert phase(driver) is DeploymentState.STARTING


def test_a_report_from_an_earlier_wave_is_no_evidence() -> None:
    driver = Driver()
    driver.feed(WaveCompleted(0, 4))
    driver.feed(StartWaveRequested(0, 5))
    driver.report(1, 0, 1, wave=4, step=31)
    wave = driver.core.snapshot(0).wave
    assert (wave.joined, wave.confirmed_at) == ((0,), None)


def test_a_start_that_nobody_follows_is_recorded_as_unanswered() -> None:
    driver = Driver(dialect="0.32")
    driver.feed(NewRequestNotified(1, 0))
    assert records(driver.advance(9.9)) == []
    assert records(driver.advance(0.2)) == ["start_unanswered"]
    assert phase(driver) is DeploymentState.PAUSED


def test_a_wave_is_recorded_with_cause_times_and_peak() -> None:
    driver = Driver(dialect="0.32")
    driver.feed(NewRequestNotified(1, 0), at=1.0)
    driver.feed(StartWaveRequested(0, 0), at=1.5)
    driver.report(0, 3, 1)
    driver.report(1, 2, 2)
    driver.report(0, 0, 1)
    driver.feed(WaveCompleted(0, 0), at=4.0)
    (wave,) = driver.core.snapshot(4.0).waves
    assert (wave.number, wave.cause, wave.cause_engine) == (0, WaveCause.FRONT_END, 1)
    assert (wave.asked_at, wave.started_at, wave.ended_at, wave.completed) == (1.0, 1.5, 4.0, True)
    assert (wave.peak_waiting, wave.peak_running) == (5, 3)


def test_the_peak_of_a_wave_is_its_own() -> None:
    driver = Driver(dialect="0.32")
    driver.report(0, 50, 10)
    driver.report(0, 2, 1)  # what is there when it begins counts
    driver.feed(NewRequestNotified(1, 0))
    driver.report(1, 1, 3)
    driver.feed(WaveCompleted(0, 0))
    driver.report(0, 0, 0)
    driver.report(1, 0, 1)
    driver.feed(NewRequestNotified(1, 1))
    first, second = driver.core.snapshot(driver.now).waves
    assert (first.peak_waiting, first.peak_running) == (3, 4)
    assert (second.peak_waiting, second.peak_running) == (0, 1)


def test_a_wave_seen_only_when_it_ended_has_no_cause() -> None:
    driver = Driver()
    driver.feed(WaveCompleted(0, 3))
    (wave,) = driver.core.snapshot(0).waves
    assert (wave.number, wave.cause, wave.asked_at, wave.completed) == (3, WaveCause.UNKNOWN, None, True)


def test_a_wave_that_was_overtaken_is_closed_as_not_completed() -> None:
    driver = Driver()
    driver.feed(StartWaveRequested(0, 0))
    driver.feed(StartWaveRequested(0, 2))
    overtaken, now_open = driver.core.snapshot(0).waves
    assert (overtaken.number, overtaken.completed, overtaken.ended_at is None) == (0, False, False)
    assert (now_open.number, now_open.ended_at) == (2, None)


def test_waves_kept_are_bounded() -> None:
    driver = Driver()
    for number in range(1000):
        driver.feed(WaveCompleted(0, number))
    assert len(driver.core.snapshot(0).waves) == 512


def test_a_wave_complete_that_a_later_start_overtook_still_completes_its_wave() -> None:
    driver = Driver()
    driver.feed(StartWaveRequested(0, 0), at=1.0)
    driver.feed(StartWaveRequested(1, 1), at=3.0)  # rank 1 was told of the end, and got a request, before we were
    effects: list[Any] = driver.feed(WaveCompleted(0, 0), at=3.1)
    assert announced(effects) == []
    assert [(e.kind, e.fields["duration_s"]) for e in effects] == [("wave_completed", 2.0)]
    first, second = driver.core.snapshot(0).waves
    assert (first.completed, first.ended_at, second.ended_at) == (True, 3.0, None)
    assert driver.feed(WaveCompleted(0, 0)) == []
