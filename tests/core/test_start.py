"""Start-up, subscriptions, scaling, and what was observed of waves."""

from __future__ import annotations

from typing import Any

import pytest

from dp_coordinator.core.effects import Effect, Reject, SendReady, WriteJournal
from dp_coordinator.core.events import (
    EngineCountChanged,
    EngineSubscribed,
    EngineUnsubscribed,
    Event,
    FrontEndSubscribed,
    FrontEndUnsubscribed,
    ManualStartRequested,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.snapshot import Phase, Remembered, WaveCause
from tests.core.driver import Driver, announced, records, starts


def ready_count(effects: list[Effect]) -> Any:
    return sum(isinstance(e, SendReady) for e in effects)


@pytest.mark.parametrize("dialect", ["0.16", "0.18", "0.33"])
def test_ready_goes_out_once_all_engines_subscribed(dialect: str) -> None:
    driver = Driver(engine_count=3, dialect=dialect, ready=False)
    assert ready_count(driver.feed(EngineSubscribed())) == 0
    assert ready_count(driver.feed(EngineSubscribed())) == 0
    assert ready_count(driver.feed(EngineSubscribed())) == 1


def test_an_engine_that_left_again_before_ready_does_not_count() -> None:
    driver = Driver(ready=False)
    driver.feed(EngineSubscribed())
    driver.feed(EngineUnsubscribed())
    assert ready_count(driver.feed(EngineSubscribed())) == 0
    assert ready_count(driver.feed(EngineSubscribed())) == 1


@pytest.mark.parametrize(("dialect", "again"), [("0.16", 0), ("0.17", 0), ("0.18", 1), ("0.33", 1)])
def test_later_subscribers_get_ready_only_where_a_second_one_kills_nobody(dialect: str, again: Any) -> None:
    driver = Driver(dialect=dialect)
    assert ready_count(driver.feed(EngineSubscribed())) == again


def test_a_notice_before_ready_is_kept_and_acted_on_after_it() -> None:
    driver = Driver(dialect="0.32", ready=False)
    assert driver.feed(NewRequestNotified(1, 0)) == []
    driver.feed(EngineSubscribed())
    effects = driver.feed(EngineSubscribed())
    kinds = [type(e).__name__ for e in effects]
    assert kinds.index("SendReady") < kinds.index("BroadcastStartWave")
    assert starts(effects) == [(0, 1)]


@pytest.mark.parametrize("dialect", ["0.16", "0.29", "0.33"])
@pytest.mark.parametrize("held", [[NewRequestNotified(1, 0)], [StartWaveRequested(0, 3)], [WaveCompleted(0, 3)], []])
def test_what_follows_from_ready_is_written_down_before_ready_is_sent(dialect: str, held: Any) -> None:
    driver = Driver(dialect=dialect, ready=False)
    for event in held:
        driver.feed(event)
    driver.feed(EngineSubscribed())
    first, *others = driver.feed(EngineSubscribed())
    assert first == WriteJournal(Remembered(driver.core.current_wave, 2, ready=True))
    assert not [effect for effect in others if isinstance(effect, WriteJournal)]
    assert ready_count(others) == 1


def test_what_is_kept_before_ready_is_bounded() -> None:
    driver = Driver(dialect="0.32", ready=False)
    rejected = [e for _ in range(1500) for e in driver.feed(NewRequestNotified(0, 0)) if isinstance(e, Reject)]
    assert len(rejected) == 1500 - 1024


@pytest.mark.parametrize("event", [EngineUnsubscribed(), FrontEndUnsubscribed()])
def test_an_unsubscription_out_of_nowhere_is_rejected(event: Event) -> None:
    driver = Driver(ready=False)
    effects: list[Any] = driver.feed(event)
    assert [e.kind for e in effects] == ["unsubscribed_before_subscribed"]
    assert (driver.core.engines_subscribed, driver.core.snapshot(0).front_ends) == (0, 0)


def test_front_ends_are_counted() -> None:
    driver = Driver()
    driver.feed(FrontEndSubscribed())
    driver.feed(FrontEndSubscribed())
    driver.feed(FrontEndUnsubscribed())
    assert driver.core.snapshot(0).front_ends == 1


@pytest.mark.parametrize(("dialect", "running"), [("0.16", False), ("0.17", False), ("0.18", True), ("0.33", True)])
def test_growth_drops_the_running_flag_only_in_old_generations(dialect: str, running: Any) -> None:
    driver = Driver(dialect=dialect)
    driver.feed(StartWaveRequested(0, 0))
    effects = driver.feed(EngineCountChanged(4))
    assert driver.core.engines_running is running
    assert announced(effects) == []
    driver.feed(EngineCountChanged(2))
    assert driver.core.engines_running is running


def test_scaling_down_while_engines_are_missing_can_complete_the_start() -> None:
    driver = Driver(engine_count=3, ready=False)
    driver.feed(EngineSubscribed())
    driver.feed(EngineSubscribed())
    assert ready_count(driver.feed(EngineCountChanged(2))) == 1


# -- asked and observed --------------------------------------------------------------------------------------------


def phase(driver: Driver) -> Any:
    return driver.core.snapshot(driver.now).phase


def test_a_start_is_not_running_until_a_rank_is_seen_stepping() -> None:
    driver = Driver(dialect="0.28")
    assert phase(driver) is Phase.PAUSED
    driver.feed(NewRequestNotified(1, 0))
    assert phase(driver) is Phase.STARTING
    driver.report(1, 1, 0, wave=0, step=0)  # it has a request, and has not stepped yet
    assert phase(driver) is Phase.STARTING
    driver.report(1, 0, 1, wave=0, step=0)
    assert phase(driver) is Phase.RUNNING
    assert driver.core.snapshot(0).stepping == (1,)
    driver.report(1, 0, 2, wave=0, step=1)  # a step is collective: all ranks took it
    assert driver.core.snapshot(0).stepping == (0, 1)
    driver.feed(WaveCompleted(0, 0))
    assert phase(driver) is Phase.PAUSED


def test_the_phase_changes_when_start_is_asked_for_and_when_it_goes_unanswered() -> None:
    driver = Driver(dialect="0.32")
    driver.feed(NewRequestNotified(1, 0), at=1.0)
    snapshot = driver.core.snapshot(1.0)
    assert (snapshot.phase, snapshot.phase_since, snapshot.engines_running) == (Phase.STARTING, 1.0, False)
    driver.feed(NewRequestNotified(0, 0), at=4.0)  # asked again: it is starting since the first
    assert (driver.core.snapshot(4.0).phase_since, driver.core.snapshot(4.0).asked_at) == (1.0, 1.0)
    assert records(driver.advance_to(13.9)) == []
    assert records(driver.advance_to(14.0)) == ["start_unanswered"]
    snapshot = driver.core.snapshot(15.0)
    assert (snapshot.phase, snapshot.phase_since, snapshot.asked_at) == (Phase.PAUSED, 14.0, None)


def test_a_wave_that_was_announced_is_starting_until_a_rank_steps_and_one_rank_is_enough() -> None:
    driver = Driver(dialect="0.28")
    driver.feed(NewRequestNotified(1, 0))
    assert (phase(driver), driver.core.engines_running) == (Phase.STARTING, True)
    driver.report(1, 0, 1)
    assert (phase(driver), driver.core.snapshot(0).stepping) == (Phase.RUNNING, (1,))


def test_a_manual_start_that_only_some_ranks_follow_is_still_starting() -> None:
    driver = Driver()
    driver.feed(ManualStartRequested("why", "test"))
    driver.report(1, 0, 1)
    assert phase(driver) is Phase.STARTING
    driver.report(0, 0, 1)
    assert phase(driver) is Phase.RUNNING


def test_a_report_from_an_earlier_wave_is_no_evidence() -> None:
    driver = Driver()
    driver.feed(WaveCompleted(0, 4))
    driver.feed(StartWaveRequested(0, 5))
    driver.report(1, 0, 1, wave=4, step=31)
    assert driver.core.snapshot(0).stepping == (0,)


def test_a_start_that_nobody_follows_is_recorded_as_unanswered() -> None:
    driver = Driver(dialect="0.32")
    driver.feed(NewRequestNotified(1, 0))
    assert records(driver.advance(9.9)) == []
    assert records(driver.advance(0.2)) == ["start_unanswered"]
    assert phase(driver) is Phase.PAUSED


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
