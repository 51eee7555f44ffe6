"""Wave messages that are far ahead: what believes them, what does not, and what outlives us."""

from __future__ import annotations

from typing import Any

import pytest

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.effects import Effect, Reject, WriteJournal
from dp_coordinator.core.events import (
    EngineCountChanged,
    EngineStatsReported,
    ManualStartRequested,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.scaling import AWAITED, LEAVING
from dp_coordinator.core.snapshot import Remembered
from dp_coordinator.core.waves import LAST_WAVE
from dp_coordinator.core.witnesses import WINDOW
from tests.core.connections import engine_subscribes, engine_unsubscribes
from tests.core.driver import Driver, starts

FAR = 1000


def rejected(effects: list[Effect]) -> list[str]:
    return [e.kind for e in effects if isinstance(e, Reject)]


@pytest.mark.parametrize("says", [StartWaveRequested, WaveCompleted])
def test_one_message_moves_the_wave_by_a_small_window(says: Any) -> None:
    near, far = Driver(4), Driver(4)
    assert rejected(near.feed(says(1, WINDOW))) == []
    assert near.core.current_wave == WINDOW + (says is WaveCompleted)
    assert rejected(far.feed(says(1, WINDOW + 1))) == ["wave_far_ahead"]
    assert (far.core.current_wave, far.core.engines_running) == (0, False)


@pytest.mark.parametrize("first", [StartWaveRequested, WaveCompleted])
@pytest.mark.parametrize("apart", [-WINDOW - 1, -WINDOW, 0, WINDOW, WINDOW + 1])
def test_another_rank_is_a_witness_for_the_same_wave(first: Any, apart: int) -> None:
    driver = Driver(4)
    driver.feed(first(1, FAR))
    effects = driver.feed(StartWaveRequested(2, FAR + apart))
    if abs(apart) > WINDOW:
        assert (rejected(effects), driver.core.current_wave) == (["wave_far_ahead"], 0)
    else:
        assert rejected(effects) == []
        assert driver.core.current_wave >= FAR + apart
        assert driver.core.state.held == {}


@pytest.mark.parametrize(("later", "believed"), [(0.0, False), (0.99, False), (1.0, True), (3600.0, True)])
def test_the_same_rank_is_one_a_second_later(later: float, believed: bool) -> None:
    driver = Driver(4)
    driver.feed(StartWaveRequested(1, FAR))
    driver.advance(later)
    assert (rejected(driver.feed(StartWaveRequested(1, FAR))) == []) is believed
    assert driver.core.current_wave == (FAR if believed else 0)


def test_who_says_it_again_and_again_is_believed_a_second_after_the_first_time() -> None:
    driver = Driver(4)
    for _ in range(4):
        assert rejected(driver.feed(StartWaveRequested(1, FAR))) == ["wave_far_ahead"]
        driver.advance(0.3)
    assert rejected(driver.feed(StartWaveRequested(1, FAR))) == []


def test_who_says_something_else_meanwhile_begins_anew() -> None:
    driver = Driver(4)
    driver.feed(StartWaveRequested(1, FAR))
    driver.feed(StartWaveRequested(1, 2 * FAR))
    driver.advance(2)
    assert rejected(driver.feed(StartWaveRequested(1, FAR))) == ["wave_far_ahead"]
    driver.feed(StartWaveRequested(1, 0))  # what it says now holds for what it said before
    assert driver.core.state.held == {}


@pytest.mark.parametrize("wave", [FAR - WINDOW, FAR, FAR + WINDOW])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_report_of_any_rank_is_a_witness_whenever_it_came(rank: int, wave: int) -> None:
    before, after = Driver(4), Driver(4)
    before.report(rank, 1, 1, wave=wave)
    before.advance(0.01)
    assert rejected(before.feed(StartWaveRequested(1, FAR))) == []
    after.feed(StartWaveRequested(1, FAR))
    assert starts(after.report(rank, 1, 1, wave=wave)) == [(FAR, 1)]
    assert before.core.current_wave == after.core.current_wave == FAR
    assert [e for _, e in after.effects if isinstance(e, WriteJournal)][-1].state.current_wave == FAR


@pytest.mark.parametrize("wave", [FAR - WINDOW - 1, FAR + WINDOW + 1, 90 * FAR])
def test_a_report_of_another_wave_is_none(wave: int) -> None:
    """So that two strangers' messages that have nothing to do with each other do not add up."""
    driver = Driver(4)
    driver.report(2, 1, 1, wave=wave)
    assert rejected(driver.feed(StartWaveRequested(1, FAR))) == ["wave_far_ahead"]
    assert starts(driver.report(3, 1, 1, wave=wave)) == []


def test_a_report_in_the_same_message_is_none() -> None:
    """Its counts come first, at the same moment; reports of others must not let it pass either."""
    driver = Driver(4)
    driver.report(1, 1, 1, wave=FAR)
    assert rejected(driver.feed(StartWaveRequested(1, FAR))) == ["wave_far_ahead"]
    driver.advance(5)
    assert starts(driver.report(2, 0, 0)) == []
    assert driver.core.current_wave == 0
    assert starts(driver.report(1, 1, 1, wave=FAR, step=1)) == [(FAR, 1)]  # its next report is one
    both = Driver(4)
    both.report(1, 1, 1, wave=FAR)
    both.report(3, 1, 1, wave=FAR)
    assert rejected(both.feed(StartWaveRequested(1, FAR))) == []


def test_what_waits_is_taken_once_the_messages_between_have_come() -> None:
    """Waves went on while the coordinator was away; of several channels any may be read first."""
    driver = Driver(4)
    driver.feed(StartWaveRequested(3, 40))
    for wave in range(40 - WINDOW):
        assert rejected(driver.feed(WaveCompleted(0, wave))) == []
        assert driver.core.engines_running is (wave == 40 - WINDOW - 1)
    assert driver.core.current_wave == 40
    assert starts([e for _, e in driver.effects]) == [(40, 3)]


def test_what_waits_is_taken_lowest_first_and_each_brings_the_next_within_reach() -> None:
    driver = Driver(6)
    for rank, wave in ((1, 27), (2, 18), (3, 9)):
        driver.feed(WaveCompleted(rank, wave))
    effects = driver.feed(WaveCompleted(0, 0))
    assert driver.core.current_wave == 28
    assert driver.core.state.held == {}
    assert isinstance(effects[0], WriteJournal)


def test_before_ready_they_wait_for_both() -> None:
    driver = Driver(3, ready=False)
    driver.feed(StartWaveRequested(0, FAR))
    driver.feed(engine_subscribes())
    driver.feed(StartWaveRequested(1, 0))
    driver.feed(engine_subscribes())
    driver.report(2, 1, 1, wave=3)
    assert starts(driver.feed(engine_subscribes())) == [(0, 1)]
    assert starts(driver.report(2, 1, 1, wave=FAR)) == [(FAR, 0)]


@pytest.mark.parametrize("says", [StartWaveRequested, WaveCompleted])
@pytest.mark.parametrize("engine", [-1, 2, 999])
def test_an_engine_that_does_not_exist_moves_nothing(says: Any, engine: int) -> None:
    for ready in (True, False):
        driver = Driver(2, ready=ready)
        assert rejected(driver.feed(says(engine, 0))) == ["index_out_of_range"]
        assert driver.core.state.held == {}


def test_ranks_that_join_or_leave_exist() -> None:
    driver = Driver(4)
    driver.feed(EngineCountChanged(2))
    assert rejected(driver.feed(StartWaveRequested(3, 0))) == []
    for _ in range(2):
        driver.feed(engine_unsubscribes())
    driver.advance(LEAVING)
    assert rejected(driver.feed(StartWaveRequested(3, 1))) == ["index_out_of_range"]
    driver.feed(engine_subscribes())
    assert rejected(driver.feed(StartWaveRequested(5, 1))) == []
    assert rejected(driver.feed(StartWaveRequested(6, 1))) == ["index_out_of_range"]  # three are there


def test_every_accepted_wave_fits_who_reads_it() -> None:
    """vLLM's Rust front-end reads u32, and what follows the last wave must fit as well."""
    assert LAST_WAVE == 2**32 - 1
    for says in (StartWaveRequested, WaveCompleted):
        driver = Driver(2)
        for engine in (0, 1):
            assert rejected(driver.feed(says(engine, LAST_WAVE))) == ["wave_out_of_range"]
            assert rejected(driver.feed(says(engine, 2**53 - 1))) == ["wave_out_of_range"]
        driver.report(0, 1, 1, wave=LAST_WAVE)
        assert rejected(driver.feed(says(1, LAST_WAVE - 1))) == []
    driver.feed(StartWaveRequested(0, LAST_WAVE))
    assert driver.core.current_wave == LAST_WAVE
    resumed = Coordinator(2, Dialect.for_version("0.33"), resumed=Remembered(LAST_WAVE, 2, True))
    for _ in range(2):
        resumed.handle(engine_subscribes(), 0.0)
    answer = resumed.handle(ManualStartRequested("why", "me", wave=LAST_WAVE + 1), 0.0)
    assert starts(list(answer)) == []


def test_reports_with_nothing_waiting_are_as_before() -> None:
    driver = Driver(2)
    driver.feed(StartWaveRequested(0, FAR))
    driver.feed(EngineCountChanged(1))
    reports = [EngineStatsReported(0, 1, 0, 0.0, step, 1) for step in range(3)]
    assert starts(list(driver.core.handle_reports(reports, driver.now))) == []


# -- SCALE -------------------------------------------------------------------------------------------------------------


def test_scale_waits_until_its_engines_are_there() -> None:
    driver = Driver(2)
    assert rejected(driver.feed(EngineCountChanged(16_384))) == ["scale_too_early"]
    assert rejected(driver.feed(EngineCountChanged(4))) == ["scale_too_early"]
    while driver.core.engines_subscribed < 4:
        assert driver.core.engine_count == 2
        driver.feed(engine_subscribes())
    assert driver.core.engine_count == 4


@pytest.mark.parametrize("count", [1, 3, 4])
def test_scale_before_ready_waits_for_ready(count: int) -> None:
    """As in vLLM; a stranger's must not let READY out too early, nor hold it up."""
    driver = Driver(3, "0.16", ready=False)
    assert rejected(driver.feed(EngineCountChanged(count))) == ["scale_too_early"]
    for there in (1, 2, 3):
        assert (driver.core.engine_count, driver.core.ready) == (3, False)
        driver.feed(engine_subscribes())
        assert driver.core.ready is (there == 3)
    assert driver.core.engine_count == min(count, 3)
    driver.feed(engine_subscribes())
    assert driver.core.engine_count == count


@pytest.mark.parametrize(("later", "taken"), [(AWAITED, True), (AWAITED + 0.1, False)])
def test_scale_does_not_wait_for_ever(later: float, taken: bool) -> None:
    driver = Driver(2)
    driver.feed(EngineCountChanged(3))
    driver.advance(later)
    driver.feed(engine_subscribes())
    assert driver.core.engine_count == (3 if taken else 2)
    driver.feed(engine_unsubscribes())
    driver.feed(engine_subscribes())
    assert driver.core.engine_count == (3 if taken else 2)


def test_a_later_scale_takes_the_place_of_one_that_waits() -> None:
    driver = Driver(2)
    driver.feed(EngineCountChanged(3))
    assert rejected(driver.feed(EngineCountChanged(1))) == []
    driver.feed(engine_subscribes())
    assert driver.core.engine_count == 1


def test_scale_to_what_it_is_already_needs_nobody_there() -> None:
    driver = Driver(4)
    driver.feed(engine_unsubscribes())
    assert rejected(driver.feed(EngineCountChanged(4))) == []
    assert rejected(driver.feed(EngineCountChanged(3))) == []
    assert rejected(driver.feed(EngineCountChanged(4))) == ["scale_too_early"]
