"""What a caller reads in an answer, and books that must agree: one table for each promise, over all the ways to it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

from dp_coordinator.core import Coordinator
from dp_coordinator.core.effects import Answer, LogEvent, Reject, SendReady, WriteJournal
from dp_coordinator.core.events import (
    CorrectionRequested,
    EngineCountChanged,
    EngineStatsReported,
    Event,
    ManualStartRequested,
    PeerIdentified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.scaling import LEAVING
from dp_coordinator.core.snapshot import ActionState, Correction, StartRefusal
from dp_coordinator.core.waves import LAST_WAVE
from dp_coordinator.words import Channel, Corrected
from tests.core.connections import connects, disconnects, engine_subscribes, engine_unsubscribes
from tests.core.driver import Driver, announced, records, starts

OUTPUT, BACK = Channel.BACK_OUTPUT, Channel.BACK_PUBLISH


def ask(driver: Driver, **given: Any) -> Any:
    effects = driver.feed(ManualStartRequested("because", "me", **given))
    return next(effect.value for effect in effects if isinstance(effect, Answer))


def correct(driver: Driver, what: Corrected, value: int, expected: int) -> Any:
    effects = driver.feed(CorrectionRequested(what, value, expected, "it hangs", "me"))
    return next(effect.value for effect in effects if isinstance(effect, Answer))


def at_wave(wave: int, **options: Any) -> Driver:
    driver = Driver(2, **options)
    driver.feed(WaveCompleted(0, wave - 1))
    assert driver.core.current_wave == wave
    return driver


def fields_of(effects: list[Any], kind: str) -> Any:
    return next(e.fields for e in effects if isinstance(e, LogEvent) and e.kind == kind)


# -- answers -----------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[Driver], Any], Callable[[Driver], Any]]] = {
    "running": (lambda driver: driver.feed(StartWaveRequested(0, 3)), ask),
    "pending": (ask, ask),
    "wave_mismatch": (lambda driver: None, lambda driver: ask(driver, expected_wave=2)),
    "wave_invalid": (lambda driver: None, lambda driver: ask(driver, wave=5)),
    "key_reused": (
        lambda driver: ask(driver, idempotency_key="k"),
        lambda driver: ask(driver, idempotency_key="k", wave=4),
    ),
    "count_mismatch": (lambda driver: None, lambda driver: correct(driver, Corrected.ENGINE_COUNT, 3, 1)),
    "count_invalid": (lambda driver: None, lambda driver: correct(driver, Corrected.ENGINE_COUNT, 0, 2)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_every_refusal_says_which_wave_is_the_current_one(kind: str) -> None:
    before, request = REFUSED[kind]
    driver = at_wave(3)
    before(driver)
    refusal = request(driver)
    assert isinstance(refusal, StartRefusal)
    assert (refusal.kind, refusal.current_wave) == (kind, 3)


def test_the_bounds_that_a_refusal_names_are_those_that_hold() -> None:
    driver = Driver(2)
    refusal = correct(driver, Corrected.WAVE, LAST_WAVE, 0)
    assert refusal.detail == f"wave must be 0 to 4294967294, not {LAST_WAVE}"
    assert correct(driver, Corrected.WAVE, 4_294_967_294, 0) == Correction(Corrected.WAVE, 0, 4_294_967_294)
    assert ask(driver, wave=LAST_WAVE).kind == "wave_invalid", "there is no next one any more"
    refusal = correct(driver, Corrected.ENGINE_COUNT, 0, 2)
    assert refusal.detail == "there can be 1 to 16384 engines, not 0"
    assert correct(driver, Corrected.ENGINE_COUNT, 1, 2) == Correction(Corrected.ENGINE_COUNT, 2, 1)


def test_after_the_wave_was_set_the_engines_do_not_count_as_running() -> None:
    driver = at_wave(3)
    driver.feed(StartWaveRequested(0, 3))
    assert driver.core.engines_running
    correct(driver, Corrected.WAVE, 7, 3)
    assert not driver.core.engines_running
    driver.feed(StartWaveRequested(0, 7))
    assert driver.core.engines_running, "and the first that begins is followed"


def test_what_is_told_of_a_manual_start_is_the_same_each_time_and_counts_from_when_it_was_asked() -> None:
    driver = Driver(3)
    driver.advance_to(10.0)
    action = ask(driver, idempotency_key="k")
    assert (action.state, action.idempotency_key, action.asked_at) == (ActionState.ASKED, "k", 10.0)
    assert ask(driver, idempotency_key="k") == action
    driver.advance_to(10.5)
    driver.report(1, 0, 1)
    (told,) = driver.core.snapshot(10.5).actions
    assert (told.state, told.idempotency_key, told.joined) == (ActionState.ASKED, "k", ((1, 0.5),))


def test_what_became_of_a_manual_start_is_recorded_with_who_joined_and_who_did_not() -> None:
    driver = Driver(3, manual_start_timeout=2.0)
    driver.report(1, 0, 0)
    driver.advance_to(10.0)
    action = ask(driver)
    timed_out = fields_of(driver.advance_to(12.0), "manual_start_timed_out")
    assert timed_out == {"action": action.id, "wave": 0, "silent": [0, 1, 2]}
    action = ask(driver)
    observed = fields_of(driver.feed(WaveCompleted(0, 0), at=12.5), "manual_start_observed")
    assert observed == {"action": action.id, "wave": 0, "joined": 0, "took_s": 0.5, "confirmed_by": "the wave's end"}


def test_what_is_rejected_names_the_bounds() -> None:
    driver = Driver(2)
    [rejected] = driver.report(2, 1, 1)
    assert rejected == Reject("index_out_of_range", "engine 2 reported, but engines are 0 to 1")
    [early] = Driver(2, ready=False).feed(EngineCountChanged(3))
    assert early == Reject("scale_too_early", "SCALE to 3 engines before READY: it waits 30 s for that")


# -- books -------------------------------------------------------------------------------------------------------------


def agree(driver: Driver) -> tuple[int, int]:
    """The totals, which are kept, are the sums of the counts; a copy made of the state sees the same."""
    table = driver.core.state.load
    sums = sum(waiting for waiting, _, _ in table.counts), sum(running for _, running, _ in table.counts)
    assert (table.total_waiting, table.total_running) == sums
    assert len(table.restarts) == len(table.counts) == driver.core.engine_count
    return sums


def comes(driver: Driver, rank: int, pid: int) -> list[Any]:
    effects = driver.feed(connects(OUTPUT, pid, socket_type="PUSH", pid=pid))
    effects += driver.feed(connects(BACK, 10_000 + pid, pid=pid))
    return effects + driver.feed(PeerIdentified(pid, rank))


def goes(driver: Driver, pid: int) -> None:
    driver.feed(disconnects(OUTPUT, pid))
    driver.feed(disconnects(BACK, 10_000 + pid))


def test_counts_and_totals_agree_when_engines_are_replaced_added_and_removed() -> None:
    driver = Driver(3, ready=False)
    for rank in range(3):
        comes(driver, rank, 1 + rank)
    for rank in range(3):
        driver.report(rank, 2 + rank, 5 + rank)
    assert agree(driver) == (9, 18)
    goes(driver, 2)
    replaced = comes(driver, 1, 12)
    assert records(replaced).count("engine_replaced") == 1
    assert agree(driver) == (6, 12)
    assert driver.core.snapshot(driver.now).engines.restarts == (0, 1, 0)
    goes(driver, 12)
    assert "engine_replaced" not in records(comes(driver, 1, 22)), "it had reported nothing that could be forgotten"
    driver.report(1, 1, 1)
    goes(driver, 22)
    comes(driver, 1, 32)
    assert driver.core.snapshot(driver.now).engines.restarts == (0, 2, 0)
    comes(driver, 3, 4)
    driver.feed(EngineCountChanged(4))
    assert driver.core.snapshot(driver.now).engines.restarts == (0, 2, 0, 0)
    assert agree(driver) == (6, 12)
    driver.feed(EngineCountChanged(2))
    assert agree(driver) == (2, 5)


def test_a_whole_step_that_waits_grows_with_the_deployment() -> None:
    driver = Driver(2)
    driver.feed(engine_subscribes())
    driver.report(0, 1, 1, step=1)
    driver.report(0, 9, 9, step=2)
    driver.feed(EngineCountChanged(3))
    driver.advance(0.2)
    assert driver.loads()[0].counts == ((1, 1, 0.0), (0, 0, 0.0), (0, 0, 0.0))


def test_what_an_engine_said_last_is_told_as_it_said_it() -> None:
    core = Driver(2).core
    said = EngineStatsReported(0, 3, 4, 0.5, 6, 7)
    core.handle_reports([EngineStatsReported(0, 1, 1, 0.1, 5, 7), said], 9.0)
    assert [core.last_report(engine) for engine in (-1, 0, 1, 2)] == [None, said, None, None]
    assert core.snapshot(9.0).engines.reported_at == (9.0, None)


def test_reports_that_bring_a_wave_out_are_journalled_before_what_follows_from_them() -> None:
    """The host gives reports in a batch of their own, and loses a wave in a crash that is not written down first."""
    driver = Driver(3, "0.32")
    driver.feed(WaveCompleted(0, 50))
    effects = driver.core.handle_reports([EngineStatsReported(1, 0, 0, 0.0, 0, 50)], 9.0)
    assert isinstance(effects[0], WriteJournal)
    assert effects[0].state.current_wave == 51
    assert announced(list(effects)) == [(51, False)]


CHANGES: list[Event] = [
    connects(OUTPUT, 50, socket_type="PUSH", pid=5),
    PeerIdentified(50, 0),
    connects(BACK, 51, pid=5),
    connects(OUTPUT, 60, socket_type="PUSH", pid=6),
    PeerIdentified(60, 1),
    PeerIdentified(60, 0),
    connects(BACK, 61, pid=6),
    EngineCountChanged(1),
    disconnects(OUTPUT, 60),
    disconnects(BACK, 61),
]


@pytest.mark.parametrize(("looked", "looks"), list(combinations(range(len(CHANGES) + 1), 2)))
def test_who_is_there_is_seen_as_it_is_whenever_somebody_looked_before(looked: int, looks: int) -> None:
    driver = Driver(2, ready=False)
    for event in CHANGES[:looked]:
        driver.feed(event)
    driver.core.snapshot(driver.now)
    for event in CHANGES[looked:looks]:
        driver.feed(event)
    anew = Coordinator.from_checkpoint(driver.core.checkpoint()).snapshot(driver.now)
    assert driver.core.snapshot(driver.now) == anew


# -- sizes -------------------------------------------------------------------------------------------------------------


def test_growth_that_clears_the_running_flag_ends_the_wave_then() -> None:
    driver = Driver(2, "0.16")
    driver.feed(StartWaveRequested(0, 0))
    driver.feed(engine_subscribes())
    driver.feed(EngineCountChanged(3), at=7.0)
    assert driver.core.snapshot(7.0).waves[-1].ended_at == 7.0


def test_a_count_that_is_told_once_more_clears_nothing() -> None:
    driver = Driver(2, "0.16")
    driver.feed(StartWaveRequested(0, 0))
    driver.feed(EngineCountChanged(2), at=7.0)
    assert driver.core.engines_running
    assert driver.core.snapshot(7.0).waves[-1].ended_at is None


def test_what_ranks_reported_before_their_time_counts_from_when_they_are_told_of_and_no_rank_beyond_it_does() -> None:
    driver = Driver(2)
    for _ in range(2):
        driver.feed(engine_subscribes())
    for rank in (2, 3):
        driver.report(rank, rank, rank, wave=0)
    driver.feed(EngineCountChanged(3), at=7.0)
    engines = driver.core.snapshot(7.0).engines
    assert (engines.waiting, engines.reported_at) == ((None, None, 2), (None, None, 7.0))
    driver.feed(EngineCountChanged(3))  # by the other front-end
    driver.feed(EngineCountChanged(4), at=9.0)
    assert driver.core.snapshot(9.0).engines.waiting == (None, None, 2, 3)


def test_a_report_before_its_time_is_a_second_witness_once_its_rank_is_told_of() -> None:
    driver = Driver(2, "0.28")
    driver.feed(engine_subscribes())
    driver.feed(WaveCompleted(2, 50))
    driver.report(2, 0, 0, wave=50)
    assert driver.core.current_wave == 0
    assert announced(driver.feed(EngineCountChanged(3))) == [(51, False)]


def test_what_somebody_reported_beyond_all_that_joined_is_forgotten_without_a_word() -> None:
    driver = Driver(2)
    driver.feed(engine_subscribes())
    driver.report(3, 1, 1)
    assert [e for e in driver.feed(EngineCountChanged(3)) if isinstance(e, Reject)] == []


def test_after_it_shrank_and_grew_again_none_counts_as_leaving() -> None:
    driver = Driver(3, ready=False)
    for rank in range(3):
        comes(driver, rank, 1 + rank)
    driver.feed(EngineCountChanged(2), at=5.0)
    driver.feed(EngineCountChanged(3), at=6.0)
    driver.feed(engine_subscribes())
    assert driver.core.snapshot(6.0).peers.surplus == 1
    comes(driver, 0, 11)
    assert list(driver.core.snapshot(6.0).peers.rivals) == [0], "nobody told the first one to go"


def test_a_count_told_twice_does_not_make_strangers_of_those_that_leave() -> None:
    driver = Driver(4)
    driver.feed(EngineCountChanged(2))
    driver.feed(EngineCountChanged(2))
    for _ in range(2):
        driver.feed(engine_unsubscribes())
    assert driver.report(3, 1, 1) == []
    driver.advance(LEAVING)
    assert [e.kind for e in driver.report(3, 1, 1) if isinstance(e, Reject)] == ["index_out_of_range"]


def test_what_waited_for_ready_goes_out_when_a_smaller_count_brings_it() -> None:
    driver = Driver(3, "0.28", ready=False)
    for _ in range(2):
        driver.feed(engine_subscribes())
    driver.feed(StartWaveRequested(0, 0))
    effects = driver.feed(CorrectionRequested(Corrected.ENGINE_COUNT, 2, 3, "one is too many", "me"))
    assert [type(e) for e in effects if isinstance(e, SendReady | WriteJournal)] == [WriteJournal, SendReady]
    assert (starts(effects), announced(effects)) == ([(0, 0)], [(0, True)])


def test_a_smaller_count_ends_the_wait_for_engines_after_a_restart() -> None:
    driver = at_wave(3)
    driver.restart()
    driver.feed(engine_subscribes())
    driver.advance_to(7.0)
    effects = driver.feed(CorrectionRequested(Corrected.ENGINE_COUNT, 1, 2, "one is gone for good", "me"))
    assert starts(effects) == [(3, None)]
    assert driver.core.snapshot(7.0).wave.asked_at == 7.0


def test_a_message_that_its_rank_seconded_before_ready_stays_so_when_it_is_said_again() -> None:
    driver = Driver(2, ready=False)
    driver.feed(engine_subscribes())
    driver.feed(WaveCompleted(0, 1000))
    driver.report(0, 0, 0, wave=1000)
    driver.feed(WaveCompleted(0, 1000), at=0.1)
    driver.feed(engine_subscribes())
    assert driver.core.current_wave == 1001


# -- who takes whose place ---------------------------------------------------------------------------------------------


def test_another_process_that_reports_begins_with_nothing_before_it_subscribes_though_the_old_one_still_does() -> None:
    driver = Driver(2, ready=False)
    for rank in range(2):
        comes(driver, rank, 1 + rank)
        driver.report(rank, 4, 4)
    driver.advance(8)  # between heartbeats
    driver.feed(disconnects(OUTPUT, 1))
    came = connects(OUTPUT, 11, socket_type="PUSH", pid=11)
    driver.feed(came)
    assert fields_of(driver.feed(PeerIdentified(11, 0)), "engine_replaced") == {"engine": 0, "peer": came.peer.name}
    driver.advance(0.2)
    assert [each[:2] for each in driver.loads()[-1].counts] == [(0, 0), (4, 4)]


def test_one_that_was_removed_after_it_had_gone_hides_none_of_those_that_are_left() -> None:
    driver = Driver(3, ready=False)
    for rank in range(3):
        comes(driver, rank, 1 + rank)
    goes(driver, 3)
    driver.feed(EngineCountChanged(2))
    goes(driver, 2)
    assert list(driver.core.snapshot(driver.now).peers.gone) == [1]


def test_engines_of_somebodys_own_on_one_host_are_as_many_as_report_from_there() -> None:
    driver = Driver(2, ready=False)
    for rank in range(2):
        driver.feed(connects(OUTPUT, 1 + rank, socket_type="PUSH"))
        driver.feed(PeerIdentified(1 + rank, rank))
        driver.feed(connects(BACK, 11 + rank, socket_type="SUB"))
    assert (driver.core.ready, driver.core.engines_subscribed) == (True, 2)
    driver.feed(connects(BACK, 13, socket_type="SUB"))
    there = {each.peer.id: kind.value for each, kind, _ in driver.core.snapshot(0.0).peers.connections}
    assert [there[number] for number in (11, 12, 13)] == ["engine", "engine", "tap"]
