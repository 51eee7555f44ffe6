"""What is raised for frames, engines, front-ends and the coordinator's own restarts, and what must not."""

from __future__ import annotations

from typing import Any

from dp_coordinator.alarms.detector import BAD_FRAMES_QUIET, FRONT_END_FORGOTTEN
from dp_coordinator.core.events import (
    EngineCountChanged,
    EngineSubscribed,
    EngineUnsubscribed,
    FrontEndSubscribed,
    FrontEndUnsubscribed,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.words import Severity
from tests.alarms.monitored_core import MonitoredCore, loads_for, report_all, running_wave


def test_bad_frames_while_they_arrive() -> None:
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


def test_an_engine_that_is_gone_and_comes_back() -> None:
    patient = MonitoredCore()
    patient.driver.feed(EngineUnsubscribed())
    assert not patient.wait(1)
    alarm = patient.wait(2)["engine_gone"]
    assert (alarm.engines, alarm.counts) == ((), {"subscribed": 3, "expected": 4})
    patient.driver.feed(EngineSubscribed())
    assert not patient.wait(0.25)


def test_the_counts_of_an_engine_that_is_gone_are_no_work_held_up() -> None:
    patient = MonitoredCore()
    running_wave(patient)
    patient.driver.feed(EngineUnsubscribed())
    report_all(patient, 0, step=64, ranks=range(3))
    patient.driver.feed(WaveCompleted(0, 0))
    patient.wait(60)
    assert patient.kinds() == {"engine_gone"}


def test_before_ready_nobody_is_gone() -> None:
    patient = MonitoredCore(ready=False)
    patient.driver.feed(EngineSubscribed())
    patient.wait(600)
    assert patient.raised == []


def test_scaling_up_and_down_is_no_loss() -> None:
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


def test_a_front_end_that_is_gone_and_comes_back() -> None:
    patient = MonitoredCore(front_ends=3)
    patient.driver.feed(FrontEndUnsubscribed())
    alarm = patient.wait(3)["front_end_gone"]
    assert (alarm.severity, alarm.counts) == (Severity.WARNING, {"subscribed": 2, "before": 3})
    patient.driver.feed(FrontEndSubscribed())
    assert not patient.wait(0.25)


def test_a_front_end_that_left_for_good_is_forgotten() -> None:
    patient = MonitoredCore(front_ends=3)
    patient.driver.feed(FrontEndUnsubscribed())
    patient.wait(100)
    patient.driver.feed(FrontEndUnsubscribed())
    patient.wait(FRONT_END_FORGOTTEN - 101)
    assert patient.alarms["front_end_gone"].counts == {"subscribed": 1, "before": 3}
    assert patient.wait(5)["front_end_gone"].counts == {"subscribed": 1, "before": 2}
    assert not patient.wait(FRONT_END_FORGOTTEN)


def test_the_last_front_end_is_more_than_one_of_several() -> None:
    patient = MonitoredCore(front_ends=1)
    patient.driver.feed(FrontEndUnsubscribed())
    assert patient.wait(3)["front_end_gone"].severity is Severity.CRITICAL


# -- restarts ----------------------------------------------------------------------------------------------------------


def restarted(**options: Any) -> MonitoredCore:
    patient = MonitoredCore(**options)
    patient.driver.feed(StartWaveRequested(0, 0))
    patient.driver.feed(WaveCompleted(0, 0))
    patient.driver.restart()
    again = MonitoredCore(**options, ready=False, front_ends=0)
    again.driver = patient.driver
    return again


def test_a_restart_that_is_over_in_a_moment_is_no_alarm() -> None:
    patient = restarted()
    for _ in range(4):
        patient.driver.feed(EngineSubscribed())
        patient.wait(0.25)
    patient.driver.feed(WaveCompleted(0, 1))
    patient.driver.feed(WaveCompleted(0, 2))
    patient.wait(60)
    assert patient.raised == []


def test_a_restart_that_waits_for_an_engine() -> None:
    patient = restarted()
    for _ in range(3):
        patient.driver.feed(EngineSubscribed())
    alarm = patient.wait(5)["recovery_under_way"]
    assert (alarm.severity, alarm.counts) == (Severity.CRITICAL, {"back": 3, "expected": 4})
    assert patient.kinds() == {"recovery_under_way"}, "an engine that is not back yet is not gone"
    patient.driver.feed(EngineSubscribed())
    patient.driver.feed(WaveCompleted(0, 1))
    assert not patient.wait(0.25)


def test_settling_is_no_alarm_while_the_engines_run_however_long() -> None:
    patient = restarted()
    for _ in range(4):
        patient.driver.feed(EngineSubscribed())
    running_wave(patient, 3)
    loads_for(patient, (3, 3, 3, 3), 60)
    recovery = patient.driver.core.snapshot(patient.now).recovery
    assert recovery is not None
    assert recovery.phase.value == "settling"
    assert patient.raised == []


def test_settling_that_nobody_follows() -> None:
    patient = restarted()
    for _ in range(4):
        patient.driver.feed(EngineSubscribed())
    alarm = patient.wait(15)["recovery_under_way"]
    assert alarm.title == "Restarted: all engines are back, and none was seen to follow START"
    patient.driver.feed(WaveCompleted(0, 1))
    patient.driver.feed(WaveCompleted(0, 2))
    assert not patient.wait(0.25)


def test_a_journal_that_cannot_be_written() -> None:
    patient = MonitoredCore()
    patient.entries = [("journal_failed", patient.now)]
    assert patient.wait(600)["journal_failed"].severity is Severity.WARNING
    patient.entries = [("journal_works_again", patient.now)]
    assert not patient.wait(0.25)
