"""Publication: what is published, and when."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from dp_coordinator.core import load
from dp_coordinator.core.effects import PublishLoad, Reject
from dp_coordinator.core.events import EngineCountChanged, NewRequestNotified, StartWaveRequested
from tests.core.connections import engine_subscribes
from tests.core.driver import Driver, records

A, B = 0, 1


def published(driver: Driver) -> Any:
    return [tuple((w, r) for w, r, _ in load.counts) for load in driver.loads()]


def test_nothing_is_published_before_all_engines_subscribed() -> None:
    driver = Driver(ready=False)
    driver.feed(engine_subscribes())
    driver.report(A, 1, 0)
    assert driver.advance(60) == []


@pytest.mark.parametrize(("coordination", "delay"), [(True, 0.05), (False, 0.0)])
def test_the_first_load_comes_once_engines_are_ready(coordination: Any, delay: float) -> None:
    driver = Driver(ready=False, wave_coordination=coordination)
    driver.feed(engine_subscribes(), at=1.0)
    driver.feed(engine_subscribes(), at=2.0)
    assert driver.core.next_deadline() == pytest.approx(2.0 + delay)


def test_while_nothing_changes_load_is_repeated_every_five_seconds() -> None:
    driver = Driver()
    driver.advance(20)
    assert len(driver.loads()) == 4


def test_a_first_change_waits_for_the_rest_of_its_step() -> None:
    driver = Driver()
    driver.advance(1)
    driver.report(A, 1, 0)
    assert driver.core.next_deadline() == pytest.approx(driver.now + 0.05)


def test_without_lockstep_a_change_is_published_at_once_then_at_the_interval() -> None:
    driver = Driver(wave_coordination=False)
    driver.advance(1)
    driver.report(A, 1, 0)
    assert driver.core.next_deadline() == driver.now
    driver.advance(0)
    began = driver.now
    driver.report(A, 2, 0)
    assert driver.core.next_deadline() == pytest.approx(began + 0.1)


def test_a_later_step_publishes_the_step_before_it_whole() -> None:
    driver = Driver()
    driver.report(A, 1, 1, step=1)
    driver.report(B, 2, 2, step=1)
    driver.report(A, 9, 9, step=2)  # opens step 2: step 1 is whole now
    driver.advance(0.11)
    assert published(driver)[-1] == ((1, 1), (2, 2))
    driver.advance(0.1)
    assert published(driver)[-1] == ((9, 9), (2, 2))


def test_an_engine_a_little_behind_changes_the_present_not_the_whole_step() -> None:
    driver = Driver()
    driver.report(A, 1, 1, step=1)
    driver.report(A, 3, 3, step=2)
    driver.report(B, 2, 2, step=1)
    driver.advance(0.11)
    assert published(driver)[-1] == ((1, 1), (0, 0))
    driver.advance(0.1)
    assert published(driver)[-1] == ((3, 3), (2, 2))


def test_a_later_wave_is_a_later_step() -> None:
    driver = Driver()
    driver.report(A, 1, 0, wave=3, step=40)
    driver.report(B, 5, 0, wave=4, step=0)
    driver.advance(0.11)
    assert published(driver)[-1] == ((1, 0), (0, 0))


def test_without_lockstep_there_are_no_step_snapshots() -> None:
    driver = Driver(wave_coordination=False)
    driver.report(A, 1, 1, step=1)
    driver.report(A, 9, 9, step=2)
    driver.advance(0.11)
    assert published(driver)[-1] == ((9, 9), (0, 0))


def test_input_never_delays_a_publication_past_its_deadline() -> None:
    driver = Driver()
    step = 0
    while driver.now < 3.0:  # a report every 7 ms, so that the loop never falls idle
        driver.report(step % 2, step, 0, step=step // 2)
        driver.advance(0.007)
        step += 1
    times = [at for at, effect in driver.effects if effect in driver.loads()]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) <= 0.12


def load_times(driver: Driver, since: float = 0.0) -> Any:
    return [at for at, effect in driver.effects if isinstance(effect, PublishLoad) and at >= since]


@pytest.mark.parametrize("dialect", ["0.10.2", "0.16", "0.28", "0.29", "0.32"])
def test_after_a_notice_the_next_load_waits_until_the_engines_had_time_to_wake(dialect: str) -> None:
    driver = Driver(dialect=dialect)
    driver.report(A, 1, 0)
    driver.advance_to(1.0)
    driver.report(A, 2, 0)  # due 50 ms from here
    driver.feed(NewRequestNotified(B, 0), at=1.04)
    driver.feed(NewRequestNotified(A, 0), at=1.045)
    driver.advance(0.1)
    assert load_times(driver, 1.0) == pytest.approx([1.095])


def test_nothing_waits_for_notices_that_the_dialect_does_not_have() -> None:
    driver = Driver(dialect="0.33")
    driver.report(A, 1, 0, step=1)
    driver.advance_to(1.0)
    driver.report(A, 2, 0, step=1)
    driver.feed(NewRequestNotified(B, 0), at=1.04)
    assert driver.core.next_deadline() == pytest.approx(1.05)


def test_a_heartbeat_waits_for_the_engines_too() -> None:
    driver = Driver(dialect="0.32")
    heartbeat = driver.core.next_deadline()
    assert heartbeat is not None
    driver.feed(NewRequestNotified(B, 0), at=heartbeat - 0.01)
    assert driver.core.next_deadline() == pytest.approx(heartbeat + 0.04)
    driver.feed(NewRequestNotified(B, 0), at=heartbeat + 0.03)
    assert driver.core.next_deadline() == pytest.approx(heartbeat + 0.05)


def test_notices_without_end_hold_no_load_up_beyond_150_ms() -> None:
    driver = Driver(dialect="0.32")
    driver.advance_to(1.0)
    began = driver.now
    for number in range(1, 300):
        driver.report(number % 2, number, 0)
        driver.feed(NewRequestNotified(A, 0), at=began + number * 0.01)
    times = load_times(driver, began)
    assert len(times) == 20
    assert max(after - before for before, after in itertools.pairwise(times)) == pytest.approx(0.15)


@pytest.mark.parametrize("running", [False, True])
def test_a_whole_step_waits_for_the_engines_only_if_it_says_that_they_do_not_run(running: Any) -> None:
    driver = Driver(dialect="0.32")
    driver.report(A, 1, 1, step=1)
    driver.advance_to(1.0)
    driver.report(A, 3, 3, step=1)
    driver.report(A, 9, 9, step=2)
    if running:
        driver.feed(StartWaveRequested(A, 0))
    driver.feed(NewRequestNotified(B, 0))
    assert driver.core.next_deadline() == pytest.approx(1.0 if running else 1.05)
    driver.advance(0.05)
    assert published(driver)[-1] == ((3, 3), (0, 0))


def test_a_report_that_goes_back_means_that_its_engine_counts_anew() -> None:
    driver = Driver()
    driver.report(A, 4, 4, wave=7, step=9)
    driver.report(B, 4, 4, wave=7, step=9)
    effects: list[Any] = driver.report(A, 1, 0, wave=0, step=0)
    assert records(effects) == ["engine_counters_reset"]
    assert effects[-1].fields == {"engine": A, "from_wave": 7, "from_step": 9, "wave": 0, "step": 0}
    columns = driver.core.snapshot(driver.now).engines
    assert columns.waiting == (1, 4)
    assert columns.restarts == (0, 0)  # a process that took its place is known by its connection


def test_a_whole_fleet_that_restarted_gets_step_snapshots_again() -> None:
    driver = Driver()
    for engine in (A, B):
        driver.report(engine, 4, 4, wave=7, step=9)
    driver.advance(1)
    for engine in (A, B):
        driver.report(engine, 1, 0, wave=0, step=1)
    driver.report(A, 9, 9, wave=0, step=2)
    driver.advance(0)
    assert published(driver)[-1] == ((1, 0), (1, 0))


def test_never_reported_is_null_inside_and_zero_on_the_wire() -> None:
    driver = Driver()
    driver.report(B, 0, 0)
    driver.advance(0.1)
    assert published(driver)[-1] == ((0, 0), (0, 0))
    snapshot = driver.core.snapshot(driver.now)
    assert snapshot.engines.waiting == (None, 0)
    assert snapshot.engines.step_counter == (None, 0)
    assert (snapshot.waiting, snapshot.running) == (0, 0)
    assert (Driver().core.snapshot(0).waiting, Driver().core.snapshot(0).running) == (None, None)


@pytest.mark.parametrize("index", [-1, 2, 3, 10**9])
def test_a_report_of_an_engine_that_does_not_exist_is_rejected(index: int) -> None:
    effects = Driver().report(index, 1, 1)
    assert [e.kind for e in effects if isinstance(e, Reject)] == ["index_out_of_range"]


def test_a_report_of_an_engine_that_does_not_exist_is_no_change() -> None:
    driver = Driver()
    driver.advance(1)
    due = driver.core.next_deadline()
    driver.report(7, 1, 0)
    assert driver.core.next_deadline() == due


def test_growth_adds_engines_that_never_reported_and_publishes_the_new_width() -> None:
    driver = Driver()
    driver.report(A, 1, 0)
    driver.feed(engine_subscribes())
    driver.feed(engine_subscribes())
    driver.feed(EngineCountChanged(4))
    driver.advance(0.2)
    assert published(driver)[-1] == ((1, 0), (0, 0), (0, 0), (0, 0))
    assert driver.core.snapshot(driver.now).engines.waiting == (1, None, None, None)


def test_shrinking_forgets_the_last_engines_also_in_a_waiting_step() -> None:
    driver = Driver(engine_count=3)
    for engine in range(3):
        driver.report(engine, engine + 1, 0, step=1)
    driver.report(A, 9, 0, step=2)
    driver.feed(EngineCountChanged(2))
    driver.advance(0.1)
    assert published(driver)[-1] == ((1, 0), (2, 0))
    assert driver.core.snapshot(driver.now).waiting == 11


@pytest.mark.parametrize("count", [0, 16_385, 10**12])
def test_an_absurd_scale_is_rejected_and_changes_nothing(count: int) -> None:
    driver = Driver()
    effects = driver.feed(EngineCountChanged(count))
    assert [e.kind for e in effects if isinstance(e, Reject)] == ["engine_count_out_of_range"]
    assert driver.core.engine_count == 2


@pytest.mark.parametrize(
    ("changed", "noticed", "due"),
    [
        (None, 4.99, 5.04),  # a heartbeat
        (0.02, 0.01, 0.1),  # they had time to wake
        (0.02, 0.08, 0.13),
        (0.02, 0.12, 0.15),  # no longer
        (0.07, 0.13, 0.15),  # also when it would have been due between these two
        (0.1, 0.14, 0.19),  # a first change after a pause has 50 ms of its own
        (3.0, 3.04, 3.09),
        (3.0, 3.09, 3.1),
    ],
)
def test_when_a_load_is_due_after_a_notice(changed: float | None, noticed: float, due: float) -> None:
    table = load.empty(2, lockstep=True, interval=0.1)
    table.published_at, table.changed_at = 0.0, changed
    load.noticed(table, noticed)
    assert load.deadline(table, engines_running=False) == pytest.approx(due)
