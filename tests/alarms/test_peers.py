"""What is raised for frames, engines, front-ends and the coordinator's own restarts, and what must not."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dp_coordinator.alarms.detector import BAD_FRAMES_QUIET
from dp_coordinator.alarms.presence import FRONT_END_FORGOTTEN
from dp_coordinator.core.events import EngineCountChanged, StartWaveRequested, WaveCompleted
from dp_coordinator.words import Channel, Severity
from tests.alarms.monitored_core import MonitoredCore, loads_for, report_all, running_wave
from tests.core.connections import (
    connects,
    engine_subscribes,
    engine_unsubscribes,
    front_end_subscribes,
    front_end_unsubscribes,
)


def test_bad_frames_while_they_arrive() -> None:
    monitored = MonitoredCore()
    monitored.bad["back_output", "malformed"] = 1
    monitored.wait(1)
    monitored.bad["back_output", "malformed"] = 5
    monitored.bad["front_publish", "unexpected"] = 2
    alarm = monitored.wait(20)["bad_frames"]
    assert alarm.counts == {"back_output malformed": 5, "front_publish unexpected": 2}
    assert alarm.title == "5 malformed frames on back_output, 2 unexpected frames on front_publish"
    assert not monitored.wait(BAD_FRAMES_QUIET)
    monitored.bad["back_output", "malformed"] = 6
    assert monitored.wait(0.25)["bad_frames"].counts == {"back_output malformed": 1}, "counted anew"


def test_an_engine_that_is_gone_and_comes_back() -> None:
    monitored = MonitoredCore()
    monitored.driver.feed(engine_unsubscribes())
    assert not monitored.wait(1)
    alarm = monitored.wait(2)["engine_gone"]
    assert (alarm.engines, alarm.counts) == ((), {"subscribed": 3, "expected": 4})
    monitored.driver.feed(engine_subscribes())
    assert not monitored.wait(0.25)


def test_the_counts_of_an_engine_that_is_gone_are_no_work_held_up() -> None:
    monitored = MonitoredCore()
    running_wave(monitored)
    monitored.driver.feed(engine_unsubscribes())
    report_all(monitored, 0, step=64, ranks=range(3))
    monitored.driver.feed(WaveCompleted(0, 0))
    monitored.wait(60)
    assert monitored.kinds() == {"engine_gone"}


def test_before_ready_nobody_is_gone() -> None:
    monitored = MonitoredCore(ready=False)
    monitored.driver.feed(engine_subscribes())
    monitored.wait(600)
    assert monitored.raised == []


def test_scaling_up_and_down_is_no_loss() -> None:
    monitored = MonitoredCore()
    for _ in range(2):
        monitored.driver.feed(engine_subscribes())
    monitored.driver.feed(EngineCountChanged(6))
    monitored.wait(10)
    monitored.driver.feed(engine_unsubscribes())
    monitored.driver.feed(engine_unsubscribes())
    monitored.wait(1)  # the message may come a moment later than the end of the engines
    monitored.driver.feed(EngineCountChanged(4))
    monitored.wait(10)
    assert monitored.raised == []


def test_a_front_end_that_is_gone_and_comes_back() -> None:
    monitored = MonitoredCore(front_ends=3)
    monitored.driver.feed(front_end_unsubscribes())
    alarm = monitored.wait(3)["front_end_gone"]
    assert (alarm.severity, alarm.counts) == (Severity.WARNING, {"subscribed": 2, "before": 3})
    assert re.fullmatch(
        r"Front-ends gone: 2 of 3 are subscribed; the last to go: 10\.0\.0\.1:\d+: connection closed", alarm.title
    )
    monitored.driver.feed(front_end_subscribes())
    assert not monitored.wait(0.25)


def test_a_front_end_that_left_for_good_is_forgotten() -> None:
    monitored = MonitoredCore(front_ends=3)
    monitored.driver.feed(front_end_unsubscribes())
    monitored.wait(100)
    monitored.driver.feed(front_end_unsubscribes())
    monitored.wait(FRONT_END_FORGOTTEN - 101)
    assert monitored.alarms["front_end_gone"].counts == {"subscribed": 1, "before": 3}
    assert monitored.wait(5)["front_end_gone"].counts == {"subscribed": 1, "before": 2}
    assert not monitored.wait(FRONT_END_FORGOTTEN)


def test_the_last_front_end_is_more_than_one_of_several() -> None:
    monitored = MonitoredCore(front_ends=1)
    monitored.driver.feed(front_end_unsubscribes())
    assert monitored.wait(3)["front_end_gone"].severity is Severity.CRITICAL


# -- restarts ----------------------------------------------------------------------------------------------------------


def restarted(**options: Any) -> MonitoredCore:
    monitored = MonitoredCore(**options)
    monitored.driver.feed(StartWaveRequested(0, 0))
    monitored.driver.feed(WaveCompleted(0, 0))
    monitored.driver.restart()
    again = MonitoredCore(**options, ready=False, front_ends=0)
    again.driver = monitored.driver
    return again


def test_a_restart_that_is_over_in_a_moment_is_no_alarm() -> None:
    monitored = restarted()
    for _ in range(4):
        monitored.driver.feed(engine_subscribes())
        monitored.wait(0.25)
    monitored.driver.feed(WaveCompleted(0, 1))
    monitored.driver.feed(WaveCompleted(0, 2))
    monitored.wait(60)
    assert monitored.raised == []


def test_a_restart_that_waits_for_an_engine() -> None:
    monitored = restarted()
    for _ in range(3):
        monitored.driver.feed(engine_subscribes())
    alarm = monitored.wait(5)["recovery_under_way"]
    assert (alarm.severity, alarm.counts) == (Severity.CRITICAL, {"back": 3, "expected": 4})
    assert monitored.kinds() == {"recovery_under_way"}, "an engine that is not back yet is not gone"
    assert (alarm.title, alarm.engines) == ("Restarted: 3 of 4 engines are back", ())
    monitored.driver.feed(engine_subscribes())
    monitored.driver.feed(WaveCompleted(0, 1))
    assert not monitored.wait(0.25)


@pytest.mark.parametrize(
    ("back", "title", "late"),
    [
        ((3, 0, 2), "Restarted: 3 of 4 engines are back, rank 1 is not", (1,)),
        ((3, 0), "Restarted: 2 of 4 engines are back, ranks 1 and 2 are not", (1, 2)),
    ],
)
def test_an_engine_that_does_not_come_back_is_named_where_all_others_are_known(
    back: tuple[int, ...], title: str, late: tuple[int, ...]
) -> None:
    monitored = restarted()
    for rank in back:
        monitored.driver.feed(connects(Channel.BACK_PUBLISH, pid=2900 + rank, engine_index=rank))
    monitored.driver.feed(connects(Channel.BACK_OUTPUT, pid=2901, engine_index=1))  # which is no subscription
    alarm = monitored.wait(5)["recovery_under_way"]
    assert (alarm.title, alarm.engines) == (title, late)


def test_settling_is_no_alarm_while_the_engines_run_however_long() -> None:
    monitored = restarted()
    for _ in range(4):
        monitored.driver.feed(engine_subscribes())
    running_wave(monitored, 3)
    loads_for(monitored, (3, 3, 3, 3), 60)
    recovery = monitored.driver.core.snapshot(monitored.now).recovery
    assert recovery is not None
    assert recovery.phase.value == "settling"
    assert monitored.raised == []


def test_settling_that_nobody_follows() -> None:
    monitored = restarted()
    for _ in range(4):
        monitored.driver.feed(engine_subscribes())
    alarm = monitored.wait(15)["recovery_under_way"]
    assert alarm.title == "Restarted: all engines are back, and none was seen to follow START"
    monitored.driver.feed(WaveCompleted(0, 1))
    monitored.driver.feed(WaveCompleted(0, 2))
    assert not monitored.wait(0.25)


def test_a_journal_that_cannot_be_written() -> None:
    monitored = MonitoredCore()
    monitored.entries = [("journal_failed", monitored.now)]
    assert monitored.wait(600)["journal_failed"].severity is Severity.WARNING
    monitored.entries = [("journal_works_again", monitored.now)]
    assert not monitored.wait(0.25)
