"""Each alarm about steps, load and publications raised and cleared, and what must not raise it."""

from __future__ import annotations

import pytest

from dp_coordinator.alarms.detector import UNANSWERED_SHOWN
from dp_coordinator.alarms.kinds import TEXTS
from dp_coordinator.core.events import (
    ManualStartRequested,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.words import AlarmKind, Severity
from tests.alarms.monitored_core import MonitoredCore, end_wave, loads_for, report_all, running_wave


def test_every_kind_says_what_it_means_and_what_to_do() -> None:
    assert set(TEXTS) == set(AlarmKind)
    for texts in TEXTS.values():
        for text in texts:
            assert text.endswith(".")
            assert len(text) < 250


# -- asked, not stepping -----------------------------------------------------------------------------------------------


def test_a_start_that_nobody_follows_names_all_and_clears_with_the_first_step() -> None:
    monitored = MonitoredCore()
    monitored.driver.report(1, 1, 0)
    monitored.driver.feed(StartWaveRequested(1, 0))
    assert not monitored.wait(4.5)
    alarm = monitored.wait(1)["asked_not_stepping"]
    assert (alarm.engines, alarm.severity) == ((0, 2, 3), Severity.CRITICAL)
    assert alarm.since == pytest.approx(0.05)
    assert alarm.title == "Ranks 0, 2 and 3 not seen to join wave 0, which was asked for"
    monitored.driver.report(1, 0, 1)  # a forward pass takes all ranks
    assert not monitored.wait(0.25)
    assert not monitored.wait(25), "one long request: nothing to report until it ends"


def test_a_notice_that_nobody_follows_stays_until_some_rank_steps() -> None:
    monitored = MonitoredCore(dialect="0.32")
    monitored.driver.report(2, 1, 0)
    for _ in range(4):  # the core gives each up after ten seconds; more requests come
        monitored.driver.feed(NewRequestNotified(2, 0))
        monitored.wait(15)
    assert monitored.kinds() == {"asked_not_stepping", "work_held_up"}
    assert [kind for _, kind in monitored.raised].count("asked_not_stepping") == 1
    monitored.driver.feed(NewRequestNotified(2, 0))
    monitored.driver.report(2, 0, 1)
    monitored.driver.feed(StartWaveRequested(0, 0))
    assert not monitored.wait(0.25)


def test_a_start_that_was_given_up_is_forgotten_after_a_while() -> None:
    monitored = MonitoredCore()
    monitored.driver.feed(ManualStartRequested("r", "me"))
    assert monitored.wait(12)["asked_not_stepping"].engines == (0, 1, 2, 3)
    assert monitored.driver.core.snapshot(monitored.now).state.value == "paused"
    assert not monitored.wait(UNANSWERED_SHOWN)


def test_a_manual_start_on_idle_engines_is_answered_by_the_end_of_its_wave() -> None:
    monitored = MonitoredCore()
    monitored.driver.feed(ManualStartRequested("r", "me"))
    monitored.wait(6)
    assert monitored.kinds() == {"asked_not_stepping"}
    monitored.driver.feed(WaveCompleted(0, 0))
    assert not monitored.wait(0.25)


@pytest.mark.parametrize("dialect", ["0.16", "0.28", "0.31", "0.33"])
def test_engines_that_report_nothing_are_behind_other_balancers(dialect: str) -> None:
    """External load balancing: waves come and go for hours, and no report ever does."""
    monitored = MonitoredCore(dialect=dialect)
    for wave in range(3):
        if dialect in ("0.16", "0.28"):
            monitored.driver.feed(NewRequestNotified(1, wave))
        else:
            monitored.driver.feed(StartWaveRequested(1, wave))
        monitored.wait(200)
        monitored.driver.feed(WaveCompleted(0, wave))
        monitored.wait(20)
    assert monitored.raised == []


# -- silence -----------------------------------------------------------------------------------------------------------


def test_a_rank_with_many_requests_that_says_nothing_while_others_do() -> None:
    monitored = MonitoredCore()
    running_wave(monitored)
    for step in range(2, 62):
        report_all(monitored, 16 + step % 2, step=step, ranks=range(3))
        monitored.wait(0.5)
    alarm = monitored.alarms["rank_silent"]
    assert (alarm.engines, alarm.counts) == ((3,), {"requests": 16})
    assert alarm.since == pytest.approx(0.05)
    report_all(monitored, 10, step=90)
    assert not monitored.wait(0.25)


def test_when_all_are_silent_one_hangs_and_all_with_requests_are_named() -> None:
    monitored = MonitoredCore()
    running_wave(monitored, load=4)
    assert not monitored.wait(29)
    alarm = monitored.wait(2)["rank_silent"]
    assert alarm.engines == (0, 1, 2, 3)
    report_all(monitored, 1, step=9, ranks=range(1))
    assert not monitored.wait(0.25)


def test_the_fewer_requests_the_longer_the_silence_may_be() -> None:
    monitored = MonitoredCore()
    monitored.driver.feed(StartWaveRequested(2, 0))
    monitored.driver.report(2, 0, 1)
    assert not monitored.wait(475)
    assert monitored.wait(10)["rank_silent"].engines == (2,)


def test_idle_and_paused_ranks_may_be_silent() -> None:
    monitored = MonitoredCore()
    running_wave(monitored)
    end_wave(monitored)
    monitored.wait(300)
    monitored.driver.feed(StartWaveRequested(0, 1))
    for step in range(240):
        monitored.driver.report(0, 0, 6 + step % 2, wave=1, step=step)
        monitored.wait(0.5)
    assert monitored.raised == [], "ranks 1 to 3 step along without requests"


def test_dense_engines_have_no_waves_but_may_hang() -> None:
    monitored = MonitoredCore(wave_coordination=False)
    for step in range(120):
        report_all(monitored, 15 + step % 2, step=0)
        monitored.wait(0.5)
    for step in range(30):
        report_all(monitored, 16 + step % 2, step=0, ranks=range(3))
        monitored.wait(0.5)
    assert monitored.raised == []
    monitored.wait(16)
    assert monitored.alarms["rank_silent"].engines == (3,)
    assert monitored.kinds() == {"rank_silent"}


def test_silence_while_the_coordinator_itself_was_stopped_is_nobodys_fault() -> None:
    monitored = MonitoredCore()
    running_wave(monitored)
    monitored.driver.advance(600)  # nobody looked: the process, or the machine, was stopped
    assert not monitored.look()
    assert not monitored.wait(29)
    assert monitored.wait(2)["rank_silent"]


def test_paused_with_work_that_nobody_steps_for() -> None:
    monitored = MonitoredCore()
    monitored.driver.report(2, 1, 0, wave=1)
    assert not monitored.wait(4.5)
    alarm = monitored.wait(1)["work_held_up"]
    assert (alarm.engines, alarm.title) == ((2,), "Paused, but rank 2 reported work and went silent")
    monitored.driver.feed(StartWaveRequested(2, 1))
    assert not monitored.wait(0.25)


# -- load --------------------------------------------------------------------------------------------------------------


def test_an_imbalance_that_lasts() -> None:
    monitored = MonitoredCore()
    running_wave(monitored)
    loads_for(monitored, (5, 5, 40, 5), 29)
    assert not monitored.alarms
    loads_for(monitored, (5, 5, 40, 5), 3)
    alarm = monitored.alarms["load_imbalance"]
    assert alarm.engines == (2,)
    assert alarm.since < 3
    loads_for(monitored, (5, 5, 14, 5), 20)
    assert monitored.alarms, "better, but not good"
    loads_for(monitored, (5, 5, 10, 5), 4)
    assert not monitored.alarms
    assert [kind for _, kind in monitored.raised] == ["load_imbalance"]


def test_imbalance_that_does_not_last_or_is_small() -> None:
    monitored = MonitoredCore()
    running_wave(monitored)
    for heavy in range(8):  # a burst on one rank after the other
        loads_for(monitored, tuple(60 if rank == heavy % 4 else 5 for rank in range(4)), 20)
    loads_for(monitored, (0, 7, 0, 0), 120)
    loads_for(monitored, (100, 130, 90, 95), 120)
    assert monitored.raised == []


def test_a_queue_that_drains_after_a_burst_is_given_its_time() -> None:
    monitored = MonitoredCore()
    running_wave(monitored)
    for left in range(60, 8, -1):
        loads_for(monitored, (0, 0, left, 0), 2)
    assert monitored.raised == []


def test_late_publications_again_and_again() -> None:
    monitored = MonitoredCore()
    monitored.late = 2
    assert not monitored.wait(1)
    monitored.late = 3
    assert monitored.wait(1)["publication_late"].severity is Severity.WARNING
    monitored.wait(8)
    assert monitored.alarms
    assert not monitored.wait(4)


def test_a_single_late_publication_now_and_then_is_a_hiccup() -> None:
    monitored = MonitoredCore()
    for _ in range(20):
        monitored.late += 1
        monitored.wait(6)
    assert monitored.raised == []


def test_a_loop_that_stands_still() -> None:
    monitored = MonitoredCore()
    running_wave(monitored)
    monitored.loop_turns = False
    alarm = monitored.wait(60)["publication_late"]
    assert alarm.severity is Severity.CRITICAL
    assert monitored.kinds() == {"publication_late"}, "nothing is heard of the engines: nothing can be said of them"
    monitored.loop_turns = True
    assert not monitored.wait(0.25)
