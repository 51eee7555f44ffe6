"""Each alarm raised and cleared, and what must not raise it."""

from __future__ import annotations

import pytest

from dp_coordinator.alarms.detector import BAD_FRAMES_QUIET, FRONT_END_FORGOTTEN, UNANSWERED_SHOWN
from dp_coordinator.alarms.kinds import TEXTS, AlarmKind, Severity
from dp_coordinator.core.events import (
    EngineCountChanged,
    EngineSubscribed,
    EngineUnsubscribed,
    FrontEndSubscribed,
    FrontEndUnsubscribed,
    ManualStartRequested,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
)
from tests.alarms.monitored_core import MonitoredCore


def running_wave(patient: MonitoredCore, load: int = 16) -> None:
    """Every rank has `load` requests and the wave was seen to step."""
    patient.driver.feed(StartWaveRequested(0, patient.driver.core.current_wave))
    report_all(patient, load, step=1)


def report_all(patient: MonitoredCore, load: int, *, step: int, ranks: range | None = None) -> None:
    core = patient.driver.core
    for rank in ranks if ranks is not None else range(core.engine_count):
        patient.driver.report(rank, 0, load, wave=core.current_wave, step=step)


def end_wave(patient: MonitoredCore) -> None:
    wave = patient.driver.core.current_wave
    report_all(patient, 0, step=64)
    patient.driver.feed(WaveCompleted(0, wave))


def test_every_kind_says_what_it_means_and_what_to_do():
    assert set(TEXTS) == set(AlarmKind)
    for texts in TEXTS.values():
        for text in texts:
            assert text.endswith(".")
            assert len(text) < 250


# -- asked, not stepping -----------------------------------------------------------------------------------------------


def test_a_start_that_nobody_follows_names_all_and_clears_with_the_first_step():
    patient = MonitoredCore()
    patient.driver.report(1, 1, 0)
    patient.driver.feed(StartWaveRequested(1, 0))
    assert not patient.wait(4.5)
    alarm = patient.wait(1)["asked_not_stepping"]
    assert (alarm.engines, alarm.severity) == ((0, 2, 3), Severity.CRITICAL)
    assert alarm.since == pytest.approx(0.05)
    assert alarm.title == "Ranks 0, 2 and 3 not seen stepping in wave 0, which was asked for"
    patient.driver.report(1, 0, 1)  # a forward pass takes all ranks
    assert not patient.wait(0.25)
    assert not patient.wait(25), "one long request: nothing to report until it ends"


def test_a_notice_that_nobody_follows_stays_until_some_rank_steps():
    patient = MonitoredCore(dialect="0.32")
    patient.driver.report(2, 1, 0)
    for _ in range(4):  # the core gives each up after ten seconds; more requests come
        patient.driver.feed(NewRequestNotified(2, 0))
        patient.wait(15)
    assert patient.kinds() == {"asked_not_stepping", "work_held_up"}
    assert [kind for _, kind in patient.raised].count("asked_not_stepping") == 1
    patient.driver.feed(NewRequestNotified(2, 0))
    patient.driver.report(2, 0, 1)
    patient.driver.feed(StartWaveRequested(0, 0))
    assert not patient.wait(0.25)


def test_a_start_that_was_given_up_is_forgotten_after_a_while():
    patient = MonitoredCore()
    patient.driver.feed(ManualStartRequested("r", "me"))
    assert patient.wait(12)["asked_not_stepping"].engines == (0, 1, 2, 3)
    assert patient.driver.core.snapshot(patient.now).phase.value == "paused"
    assert not patient.wait(UNANSWERED_SHOWN)


def test_a_manual_start_on_idle_engines_is_answered_by_the_end_of_its_wave():
    patient = MonitoredCore()
    patient.driver.feed(ManualStartRequested("r", "me"))
    patient.wait(6)
    assert patient.kinds() == {"asked_not_stepping"}
    patient.driver.feed(WaveCompleted(0, 0))
    assert not patient.wait(0.25)


@pytest.mark.parametrize("dialect", ["0.16", "0.28", "0.31", "0.33"])
def test_engines_that_report_nothing_are_behind_other_balancers(dialect):
    """External load balancing: waves come and go for hours, and no report ever does."""
    patient = MonitoredCore(dialect=dialect)
    for wave in range(3):
        if dialect in ("0.16", "0.28"):
            patient.driver.feed(NewRequestNotified(1, wave))
        else:
            patient.driver.feed(StartWaveRequested(1, wave))
        patient.wait(200)
        patient.driver.feed(WaveCompleted(0, wave))
        patient.wait(20)
    assert patient.raised == []


# -- silence -----------------------------------------------------------------------------------------------------------


def test_a_rank_with_many_requests_that_says_nothing_while_others_do():
    patient = MonitoredCore()
    running_wave(patient)
    for step in range(2, 62):
        report_all(patient, 16 + step % 2, step=step, ranks=range(3))
        patient.wait(0.5)
    alarm = patient.alarms["rank_silent"]
    assert (alarm.engines, alarm.counts) == ((3,), {"requests": 16})
    assert alarm.since == pytest.approx(0.05)
    report_all(patient, 10, step=90)
    assert not patient.wait(0.25)


def test_when_all_are_silent_one_hangs_and_all_with_requests_are_named():
    patient = MonitoredCore()
    running_wave(patient, load=4)
    assert not patient.wait(29)
    alarm = patient.wait(2)["rank_silent"]
    assert alarm.engines == (0, 1, 2, 3)
    report_all(patient, 1, step=9, ranks=range(1))
    assert not patient.wait(0.25)


def test_the_fewer_requests_the_longer_the_silence_may_be():
    patient = MonitoredCore()
    patient.driver.feed(StartWaveRequested(2, 0))
    patient.driver.report(2, 0, 1)
    assert not patient.wait(475)
    assert patient.wait(10)["rank_silent"].engines == (2,)


def test_idle_and_paused_ranks_may_be_silent():
    patient = MonitoredCore()
    running_wave(patient)
    end_wave(patient)
    patient.wait(300)
    patient.driver.feed(StartWaveRequested(0, 1))
    for step in range(240):
        patient.driver.report(0, 0, 6 + step % 2, wave=1, step=step)
        patient.wait(0.5)
    assert patient.raised == [], "ranks 1 to 3 step along without requests"


def test_dense_engines_have_no_waves_but_may_hang():
    patient = MonitoredCore(wave_coordination=False)
    for step in range(120):
        report_all(patient, 15 + step % 2, step=0)
        patient.wait(0.5)
    for step in range(30):
        report_all(patient, 16 + step % 2, step=0, ranks=range(3))
        patient.wait(0.5)
    assert patient.raised == []
    patient.wait(16)
    assert patient.alarms["rank_silent"].engines == (3,)
    assert patient.kinds() == {"rank_silent"}


def test_silence_while_the_coordinator_itself_was_stopped_is_nobodys_fault():
    patient = MonitoredCore()
    running_wave(patient)
    patient.driver.advance(600)  # nobody looked: the process, or the machine, was stopped
    assert not patient.look()
    assert not patient.wait(29)
    assert patient.wait(2)["rank_silent"]


def test_paused_with_work_that_nobody_steps_for():
    patient = MonitoredCore()
    patient.driver.report(2, 1, 0, wave=1)
    assert not patient.wait(4.5)
    alarm = patient.wait(1)["work_held_up"]
    assert (alarm.engines, alarm.title) == ((2,), "Paused, but rank 2 reported work and went silent")
    patient.driver.feed(StartWaveRequested(2, 1))
    assert not patient.wait(0.25)


# -- load --------------------------------------------------------------------------------------------------------------


def loads_for(patient: MonitoredCore, loads: tuple[int, ...], seconds: float) -> None:
    """These counts, reported twice a second with a little noise."""
    for half in range(int(seconds * 2)):
        for rank, load in enumerate(loads):
            patient.driver.report(rank, 0, load + half % 2, wave=patient.driver.core.current_wave, step=1 + half)
        patient.wait(0.5)


def test_an_imbalance_that_lasts():
    patient = MonitoredCore()
    running_wave(patient)
    loads_for(patient, (5, 5, 40, 5), 29)
    assert not patient.alarms
    loads_for(patient, (5, 5, 40, 5), 3)
    alarm = patient.alarms["load_imbalance"]
    assert alarm.engines == (2,)
    assert alarm.since < 3
    loads_for(patient, (5, 5, 14, 5), 20)
    assert patient.alarms, "better, but not good"
    loads_for(patient, (5, 5, 10, 5), 4)
    assert not patient.alarms
    assert [kind for _, kind in patient.raised] == ["load_imbalance"]


def test_imbalance_that_does_not_last_or_is_small():
    patient = MonitoredCore()
    running_wave(patient)
    for heavy in range(8):  # a burst on one rank after the other
        loads_for(patient, tuple(60 if rank == heavy % 4 else 5 for rank in range(4)), 20)
    loads_for(patient, (0, 7, 0, 0), 120)
    loads_for(patient, (100, 130, 90, 95), 120)
    assert patient.raised == []


def test_a_queue_that_drains_after_a_burst_is_given_its_time():
    patient = MonitoredCore()
    running_wave(patient)
    for left in range(60, 8, -1):
        loads_for(patient, (0, 0, left, 0), 2)
    assert patient.raised == []


def test_late_publications_again_and_again():
    patient = MonitoredCore()
    patient.late = 2
    assert not patient.wait(1)
    patient.late = 3
    assert patient.wait(1)["publication_late"].severity is Severity.WARNING
    patient.wait(8)
    assert patient.alarms
    assert not patient.wait(4)


def test_a_single_late_publication_now_and_then_is_a_hiccup():
    patient = MonitoredCore()
    for _ in range(20):
        patient.late += 1
        patient.wait(6)
    assert patient.raised == []


def test_a_loop_that_stands_still():
    patient = MonitoredCore()
    running_wave(patient)
    patient.loop_turns = False
    alarm = patient.wait(60)["publication_late"]
    assert alarm.severity is Severity.CRITICAL
    assert patient.kinds() == {"publication_late"}, "nothing is heard of the engines: nothing can be said of them"
    patient.loop_turns = True
    assert not patient.wait(0.25)


# -- peers -------------------------------------------------------------------------------------------------------------


def test_bad_frames_while_they_arrive():
    patient = MonitoredCore()
    patient.bad["back_output", "malformed"] = 1
    patient.wait(1)
    patient.bad["back_output", "malformed"] = 5
    patient.bad["front_publish", "unexpected"] = 2
    alarm = patient.wait(20)["bad_frames"]
    assert alarm.counts == {"back_output malformed": 5, "front_publish unexpected": 2}
    assert alarm.title == "Bad frames arrive: 5 back_output malformed, 2 front_publish unexpected"
    assert not patient.wait(BAD_FRAMES_QUIET)
    patient.bad["back_output", "malformed"] = 6
    assert patient.wait(0.25)["bad_frames"].counts == {"back_output malformed": 1}, "counted anew"


def test_an_engine_that_is_gone_and_comes_back():
    patient = MonitoredCore()
    patient.driver.feed(EngineUnsubscribed())
    assert not patient.wait(1)
    alarm = patient.wait(2)["engine_gone"]
    assert (alarm.engines, alarm.counts) == ((), {"subscribed": 3, "expected": 4})
    patient.driver.feed(EngineSubscribed())
    assert not patient.wait(0.25)


def test_the_counts_of_an_engine_that_is_gone_are_no_work_held_up():
    patient = MonitoredCore()
    running_wave(patient)
    patient.driver.feed(EngineUnsubscribed())
    report_all(patient, 0, step=64, ranks=range(3))
    patient.driver.feed(WaveCompleted(0, 0))
    patient.wait(60)
    assert patient.kinds() == {"engine_gone"}


def test_before_ready_nobody_is_gone():
    patient = MonitoredCore(ready=False)
    patient.driver.feed(EngineSubscribed())
    patient.wait(600)
    assert patient.raised == []


def test_scaling_up_and_down_is_no_loss():
    patient = MonitoredCore()
    for _ in range(2):
        patient.driver.feed(EngineSubscribed())
    patient.driver.feed(EngineCountChanged(6))
    patient.wait(10)
    patient.driver.feed(EngineUnsubscribed())
    patient.driver.feed(EngineUnsubscribed())
    patient.wait(1)  # the message may come a moment later than the end of the engines
    patient.driver.feed(EngineCountChanged(4))
    patient.wait(10)
    assert patient.raised == []


def test_a_front_end_that_is_gone_and_comes_back():
    patient = MonitoredCore(front_ends=3)
    patient.driver.feed(FrontEndUnsubscribed())
    alarm = patient.wait(3)["front_end_gone"]
    assert (alarm.severity, alarm.counts) == (Severity.WARNING, {"subscribed": 2, "before": 3})
    patient.driver.feed(FrontEndSubscribed())
    assert not patient.wait(0.25)


def test_a_front_end_that_left_for_good_is_forgotten():
    patient = MonitoredCore(front_ends=3)
    patient.driver.feed(FrontEndUnsubscribed())
    patient.wait(100)
    patient.driver.feed(FrontEndUnsubscribed())
    patient.wait(FRONT_END_FORGOTTEN - 101)
    assert patient.alarms["front_end_gone"].counts == {"subscribed": 1, "before": 3}
    assert patient.wait(5)["front_end_gone"].counts == {"subscribed": 1, "before": 2}
    assert not patient.wait(FRONT_END_FORGOTTEN)


def test_the_last_front_end_is_more_than_one_of_several():
    patient = MonitoredCore(front_ends=1)
    patient.driver.feed(FrontEndUnsubscribed())
    assert patient.wait(3)["front_end_gone"].severity is Severity.CRITICAL


# -- restarts ----------------------------------------------------------------------------------------------------------


def restarted(**options) -> MonitoredCore:
    patient = MonitoredCore(**options)
    patient.driver.feed(StartWaveRequested(0, 0))
    patient.driver.feed(WaveCompleted(0, 0))
    patient.driver.restart()
    again = MonitoredCore(**options, ready=False, front_ends=0)
    again.driver = patient.driver
    return again


def test_a_restart_that_is_over_in_a_moment_is_no_alarm():
    patient = restarted()
    for _ in range(4):
        patient.driver.feed(EngineSubscribed())
        patient.wait(0.25)
    patient.driver.feed(WaveCompleted(0, 1))
    patient.driver.feed(WaveCompleted(0, 2))
    patient.wait(60)
    assert patient.raised == []


def test_a_restart_that_waits_for_an_engine():
    patient = restarted()
    for _ in range(3):
        patient.driver.feed(EngineSubscribed())
    alarm = patient.wait(5)["recovery_under_way"]
    assert (alarm.severity, alarm.counts) == (Severity.CRITICAL, {"back": 3, "expected": 4})
    assert patient.kinds() == {"recovery_under_way"}, "an engine that is not back yet is not gone"
    patient.driver.feed(EngineSubscribed())
    patient.driver.feed(WaveCompleted(0, 1))
    assert not patient.wait(0.25)


def test_settling_is_no_alarm_while_the_engines_run_however_long():
    patient = restarted()
    for _ in range(4):
        patient.driver.feed(EngineSubscribed())
    running_wave(patient, 3)
    loads_for(patient, (3, 3, 3, 3), 60)
    assert patient.driver.core.snapshot(patient.now).recovery.phase.value == "settling"
    assert patient.raised == []


def test_settling_that_nobody_follows():
    patient = restarted()
    for _ in range(4):
        patient.driver.feed(EngineSubscribed())
    alarm = patient.wait(15)["recovery_under_way"]
    assert alarm.title == "Restarted: all engines are back, and none was seen to follow START"
    patient.driver.feed(WaveCompleted(0, 1))
    patient.driver.feed(WaveCompleted(0, 2))
    assert not patient.wait(0.25)


def test_a_journal_that_cannot_be_written():
    patient = MonitoredCore()
    patient.entries = [("journal_failed", patient.now)]
    assert patient.wait(600)["journal_failed"].severity is Severity.WARNING
    patient.entries = [("journal_works_again", patient.now)]
    assert not patient.wait(0.25)
