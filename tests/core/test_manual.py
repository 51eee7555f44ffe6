"""Waves started by hand: accepted or refused, and what was observed."""

from __future__ import annotations

from typing import Any

import pytest

from dp_coordinator.core.effects import Answer
from dp_coordinator.core.events import ManualStartRequested, NewRequestNotified, StartWaveRequested, WaveCompleted
from dp_coordinator.core.snapshot import ActionState, RefusalKind, StartAction, StartRefusal, WaveCause
from dp_coordinator.words import Channel
from tests.core.connections import connects, disconnects, engine_subscribes, engine_unsubscribes
from tests.core.driver import Driver, announced, records, starts


def ask(driver: Driver, **fields: Any) -> Any:
    effects = driver.feed(ManualStartRequested("because", "test", **fields))
    (answer,) = [e.value for e in effects if isinstance(e, Answer)]
    return answer, effects


def newest(driver: Driver) -> Any:
    return driver.core.snapshot(driver.now).actions[-1]


@pytest.mark.parametrize("dialect", ["0.16", "0.28", "0.32", "0.33"])
def test_a_manual_start_wakes_all_and_never_sets_running(dialect: str) -> None:
    driver = Driver(dialect=dialect)
    action, effects = ask(driver)
    assert isinstance(action, StartAction)
    assert starts(effects) == [(0, None)]
    assert announced(effects) == []
    assert not driver.core.engines_running
    assert action.state is ActionState.ASKED
    assert action.silent == (0, 1)


def test_the_end_of_the_wave_proves_that_every_rank_stepped() -> None:
    driver = Driver(engine_count=4)
    ask(driver)
    driver.advance(0.04)
    effects = driver.feed(WaveCompleted(0, 0))
    action = newest(driver)
    assert (action.state, action.confirmed_by, action.silent) == (ActionState.OBSERVED, "the wave's end", ())
    assert action.joined == ()
    assert action.finished_at - action.asked_at == pytest.approx(0.04)
    assert "manual_start_observed" in records(effects)
    assert driver.core.snapshot(0).waves[-1].cause is WaveCause.MANUAL


def test_ranks_join_one_by_one_and_a_step_confirms() -> None:
    driver = Driver()
    ask(driver)
    driver.report(1, 0, 1)
    assert newest(driver).silent == (0,)
    driver.report(0, 0, 1)
    action = newest(driver)
    assert (action.state, action.silent, action.confirmed_by) == (ActionState.ASKED, (), None)
    driver.report(0, 0, 2, step=32)
    action = newest(driver)
    assert (action.state, action.confirmed_by) == (ActionState.OBSERVED, "rank 0, step 32")
    assert [rank for rank, _ in action.joined] == [1, 0]


def test_nothing_is_confirmed_while_one_long_request_runs_and_nobody_is_accused() -> None:
    driver = Driver(engine_count=3, manual_start_timeout=2.0)
    ask(driver)
    driver.report(1, 0, 1)
    effects = driver.advance(2.0)
    action = newest(driver)
    assert (action.state, action.silent) == (ActionState.CANNOT_TELL, (0, 2))
    assert "manual_start_unclear" in records(effects)
    assert driver.core.start_blocked() is None


def test_a_start_that_no_rank_joins_though_they_report_times_out() -> None:
    driver = Driver(engine_count=3, manual_start_timeout=2.0)
    driver.report(1, 0, 0)
    ask(driver)
    effects = driver.advance(2.0)
    action = newest(driver)
    assert (action.state, action.silent) == (ActionState.TIMED_OUT, (0, 1, 2))
    assert "manual_start_timed_out" in records(effects)


def test_where_no_rank_ever_reports_nobody_can_tell_what_became_of_a_start() -> None:
    driver = Driver(engine_count=3, manual_start_timeout=2.0)
    ask(driver)
    driver.advance(2.0)
    assert newest(driver).state is ActionState.CANNOT_TELL


def test_the_wave_after_the_current_one_may_be_named() -> None:
    driver = Driver()
    action, effects = ask(driver, wave=1)
    assert starts(effects) == [(1, None)]
    assert driver.core.current_wave == 0
    driver.feed(WaveCompleted(0, 0))
    assert newest(driver).state is ActionState.ASKED
    driver.feed(WaveCompleted(0, 1))
    assert newest(driver).state is ActionState.OBSERVED
    assert action.wave == 1


def running(driver: Driver) -> None:
    driver.feed(StartWaveRequested(0, 0))


REFUSALS = [
    ({}, running, RefusalKind.RUNNING, "running already"),
    ({}, ask, RefusalKind.PENDING, "still being watched"),
    ({"expected_wave": 3}, None, RefusalKind.WAVE_MISMATCH, "current wave is 0, not 3"),
    ({"wave": 2}, None, RefusalKind.WAVE_INVALID, "must be 0"),
    ({"wave": -1}, None, RefusalKind.WAVE_INVALID, "must be 0"),
]


@pytest.mark.parametrize(("fields", "before", "kind", "text"), REFUSALS)
def test_refusals_say_why_and_are_recorded(fields: Any, before: Any, kind: str, text: str) -> None:
    driver = Driver()
    if before:
        before(driver)
    refusal, effects = ask(driver, **fields)
    assert isinstance(refusal, StartRefusal)
    assert refusal.kind is kind
    assert text in refusal.detail
    assert starts(effects) == []
    assert records(effects) == ["manual_start_refused"]


def test_no_start_before_all_engines_subscribed() -> None:
    driver = Driver(ready=False)
    driver.feed(engine_subscribes())
    refusal, _ = ask(driver)
    assert (refusal.kind, "1 of 2" in refusal.detail) == (RefusalKind.NOT_READY, True)


def test_no_start_while_an_engine_is_gone() -> None:
    driver = Driver(4)
    assert driver.core.start_blocked() is None
    driver.feed(engine_unsubscribes())
    refusal, effects = ask(driver)
    assert (refusal.kind, starts(effects)) == (RefusalKind.NOT_READY, [])
    assert refusal.detail == "1 of 4 engines is gone; a wave needs all of them"
    assert driver.core.start_blocked() == (refusal.kind, refusal.detail)
    driver.feed(engine_subscribes())
    assert isinstance(ask(driver)[0], StartAction)


def test_no_start_without_wave_coordination() -> None:
    assert ask(Driver(wave_coordination=False))[0].kind is RefusalKind.COORDINATION_OFF


def test_a_repeated_key_gives_the_same_action_and_no_second_start() -> None:
    driver = Driver()
    first, _ = ask(driver, idempotency_key="k")
    again, effects = ask(driver, idempotency_key="k")
    assert again.id == first.id
    assert starts(effects) == []
    driver.feed(WaveCompleted(0, 0))
    assert ask(driver, idempotency_key="k")[0].state is ActionState.OBSERVED


def test_a_key_used_for_something_else_is_refused() -> None:
    driver = Driver()
    ask(driver, idempotency_key="k")
    refusal, _ = ask(driver, idempotency_key="k", wave=1)
    assert refusal.kind is RefusalKind.KEY_REUSED
    assert refusal.detail == "this Idempotency-Key was used for another request; use a new key for a new start"


def test_a_refused_request_does_not_use_up_its_key() -> None:
    driver = Driver()
    running(driver)
    assert isinstance(ask(driver, idempotency_key="k")[0], StartRefusal)
    driver.feed(WaveCompleted(0, 0))
    assert isinstance(ask(driver, idempotency_key="k")[0], StartAction)


def test_a_request_that_comes_while_a_manual_start_is_watched_works_as_ever() -> None:
    driver = Driver(dialect="0.28")
    ask(driver)
    effects = driver.feed(NewRequestNotified(1, 0))
    assert (starts(effects), announced(effects)) == ([(0, 1)], [(0, True)])


def test_actions_kept_are_bounded() -> None:
    driver = Driver()
    for wave in range(400):
        ask(driver, idempotency_key=str(wave))
        driver.feed(WaveCompleted(0, wave))
    kept = driver.core.snapshot(0).actions
    assert [action.wave for action in kept] == list(range(400 - 256, 400))


def test_the_oldest_keys_go_first() -> None:
    driver = Driver()
    made = []
    for wave in range(300):
        made.append(ask(driver, idempotency_key=str(wave))[0].id)
        driver.feed(WaveCompleted(0, wave))
    for wave in (299, 44):  # the oldest that is held
        assert ask(driver, idempotency_key=str(wave))[0].id == made[wave]
    forgotten, effects = ask(driver, idempotency_key="43")
    assert forgotten.id not in made
    assert starts(effects) == [(300, None)]


def test_of_many_engines_that_are_gone_some_are_named() -> None:
    driver = Driver(12, ready=False)
    for rank in range(12):
        driver.feed(connects(Channel.BACK_PUBLISH, 100 + rank, pid=200 + rank, engine_index=rank))
    for rank in range(10):
        driver.feed(disconnects(Channel.BACK_PUBLISH, 100 + rank))
    detail = "10 of 12 engines are gone (ranks 0, 1, 2, 3, 4, 5, 6, 7 and 2 more); a wave needs all of them"
    assert driver.core.start_blocked() == (RefusalKind.NOT_READY, detail)
