"""What an operator sets: the wave, and the engine count."""

from __future__ import annotations

from typing import Any

import pytest

from dp_coordinator.core.effects import Answer, BroadcastStartWave, PublishLoad
from dp_coordinator.core.events import (
    CorrectionRequested,
    EngineCountChanged,
    ManualStartRequested,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.scaling import MAX_ENGINES
from dp_coordinator.core.snapshot import Correction, StartRefusal, WaveCause
from dp_coordinator.core.waves import LAST_WAVE
from dp_coordinator.words import Corrected
from tests.core.connections import engine_subscribes, engine_unsubscribes
from tests.core.driver import Driver, announced, records, starts

WAVE, COUNT = Corrected.WAVE, Corrected.ENGINE_COUNT


def sets(driver: Driver, what: Corrected, value: int, expected: int) -> Any:
    effects = driver.feed(CorrectionRequested(what, value, expected, "it hangs", "me"))
    [answer] = [e.value for e in effects if isinstance(e, Answer)]
    return answer, effects


@pytest.mark.parametrize("wave", [57, 0])
@pytest.mark.parametrize("running", [True, False])
def test_the_wave_is_set_up_or_down_and_all_are_woken_whether_they_run_or_not(wave: int, running: bool) -> None:
    driver = Driver(2)
    driver.feed(WaveCompleted(0, 2))
    if running:
        driver.feed(StartWaveRequested(0, 3))
    answer, effects = sets(driver, WAVE, wave, 3)
    assert answer == Correction(WAVE, 3, wave)
    assert starts(effects) == [(wave, None)]
    assert announced(effects) == [(wave, False)]
    assert driver.core.state.journalled.current_wave == wave
    assert records(effects) == ["wave_set", "wave_asked"]
    again = driver.feed(WaveCompleted(0, wave))
    assert [(e.wave, e.cause) for e in again if isinstance(e, BroadcastStartWave)] == [(wave + 1, WaveCause.MANUAL)]
    assert starts(driver.feed(WaveCompleted(0, wave + 1))) == []


def test_what_waited_for_a_witness_is_over_then() -> None:
    driver = Driver(2)
    driver.feed(StartWaveRequested(1, 57_758))
    sets(driver, WAVE, 57, 0)
    assert driver.core.state.held == {}
    driver.report(0, 1, 1, wave=57_758)
    assert driver.core.current_wave == 57


@pytest.mark.parametrize("wave", [-1, LAST_WAVE])
def test_a_wave_that_does_not_fit_is_refused(wave: int) -> None:
    answer, effects = sets(Driver(), WAVE, wave, 0)
    assert (answer.kind, starts(effects), records(effects)) == ("wave_invalid", [], ["correction_refused"])


def test_the_wave_is_guarded_as_a_manual_start_is() -> None:
    driver = Driver(2)
    assert sets(driver, WAVE, 57, 1)[0].kind == "wave_mismatch"
    driver.feed(ManualStartRequested("why", "me"))
    assert sets(driver, WAVE, 57, 0)[0].kind == "pending"
    assert sets(Driver(2, ready=False), WAVE, 57, 0)[0].kind == "not_ready"
    assert sets(Driver(2, wave_coordination=False), WAVE, 57, 0)[0].kind == "coordination_off"
    driver.restart()
    assert sets(driver, WAVE, 57, 0)[0].kind == "not_ready"
    assert driver.core.current_wave == 0


def test_the_engine_count_is_set_back_after_a_strangers_scale() -> None:
    driver = Driver(4)
    for rank in range(4):
        driver.report(rank, rank, 0)
    driver.feed(EngineCountChanged(1))
    answer, effects = sets(driver, COUNT, 4, 1)
    assert answer == Correction(COUNT, 1, 4)
    assert records(effects) == ["engine_count_set", "engine_count_changed"]
    assert driver.core.state.journalled.engine_count == 4
    driver.report(3, 9, 0)
    driver.advance(1)
    last = [e for _, e in driver.effects if isinstance(e, PublishLoad)][-1]
    assert [waiting for waiting, _, _ in last.counts] == [0, 0, 0, 9]


def test_a_count_that_is_too_large_is_taken_back_before_ready_too() -> None:
    driver = Driver(4, ready=False)
    for _ in range(3):
        driver.feed(engine_subscribes())
    driver.feed(engine_unsubscribes())
    assert sets(driver, COUNT, 2, 4)[0] == Correction(COUNT, 4, 2)
    assert driver.core.ready


@pytest.mark.parametrize(
    ("count", "expected", "kind"),
    [
        (0, 2, "count_invalid"),
        (MAX_ENGINES + 1, 2, "count_invalid"),
        (4, 3, "count_mismatch"),
    ],
)
def test_another_count_is_refused(count: int, expected: int, kind: str) -> None:
    driver = Driver(2)
    answer, _ = sets(driver, COUNT, count, expected)
    assert isinstance(answer, StartRefusal)
    assert (answer.kind, driver.core.engine_count) == (kind, 2)
    sets(driver, COUNT, MAX_ENGINES, 2)
    assert driver.core.engine_count == MAX_ENGINES
