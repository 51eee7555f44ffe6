"""What is said of the ranks and the deployment is so, and no two of those who say it disagree."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dp_coordinator import sentences, standing
from dp_coordinator.core.events import ManualStartRequested, StartWaveRequested, WaveCompleted
from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.words import ActionState, Channel, DeploymentState, EngineStatus, Severity, Tone
from tests.alarms.monitored_core import MonitoredCore, end_wave, loads_for, report_all, running_wave
from tests.core.connections import connects, disconnects, engine_unsubscribes


def snapshot(monitored: MonitoredCore) -> Snapshot:
    return monitored.driver.core.snapshot(monitored.now)


def statuses(monitored: MonitoredCore) -> list[EngineStatus]:
    named = {rank for alarm in monitored.alarms.values() for rank in alarm.engines}
    return standing.statuses(snapshot(monitored), named, monitored.now)


def named_engines(engines: int, first: int = 50_000) -> MonitoredCore:
    """Engines on this machine, each with two connections of one process that says which rank it is."""
    monitored = MonitoredCore(engines, ready=False)
    for rank in range(engines):
        of_one = {"pid": 2900 + rank, "title": f"VLLM::EngineCore_DP{rank}", "engine_index": rank}
        for number, channel in ((rank, Channel.BACK_OUTPUT), (engines + rank, Channel.BACK_PUBLISH)):
            monitored.driver.feed(connects(channel, first + number, **of_one))  # type: ignore[arg-type]
    monitored.wait(0.1)
    return monitored


def kill(monitored: MonitoredCore, rank: int, first: int = 50_000) -> None:
    for number, channel in (
        (rank, Channel.BACK_OUTPUT),
        (monitored.driver.core.engine_count + rank, Channel.BACK_PUBLISH),
    ):
        monitored.driver.feed(disconnects(channel, first + number))


def test_a_dense_model_serves() -> None:
    monitored = MonitoredCore(8, wave_coordination=False)
    report_all(monitored, 12, step=0, ranks=range(7))
    monitored.driver.report(7, 0, 8)
    monitored.wait(1)
    seen = snapshot(monitored)
    assert (seen.state, seen.running, monitored.kinds()) == (DeploymentState.SERVING, 92, set())


def test_a_wave_that_was_announced_and_does_not_step_is_nowhere_called_running() -> None:
    monitored = MonitoredCore(8)
    report_all(monitored, 0, step=0)
    monitored.driver.feed(StartWaveRequested(0, 0))
    monitored.wait(6)
    seen, alarm = snapshot(monitored), monitored.alarms["asked_not_stepping"]
    assert (seen.state, alarm.engines) == (DeploymentState.STARTING, tuple(range(1, 8)))
    assert "joined by rank 0" in sentences.state_text(seen, monitored.now)
    assert sentences.state_tone(seen, alarm.severity) is Tone.BAD


def test_of_a_manual_start_that_two_ranks_join_nobody_says_more_than_is_seen() -> None:
    monitored = MonitoredCore(8)
    monitored.driver.feed(ManualStartRequested("why", "me"))
    for rank in (0, 1):
        monitored.driver.report(rank, 0, 1)
    monitored.wait(60)
    seen = snapshot(monitored)
    (action,) = seen.actions
    assert (seen.state, seen.wave.joined, seen.wave.confirmed_at) == (DeploymentState.RUNNING, (0, 1), None)
    assert "step not confirmed yet" in sentences.state_text(seen, monitored.now)
    assert sentences.state_tone(seen, None) is Tone.PLAIN
    assert (action.state, monitored.kinds()) == (ActionState.CANNOT_TELL, set())


def test_an_engine_that_is_killed_under_load_is_named_everywhere_and_nobody_else_is_accused() -> None:
    monitored = named_engines(8)
    running_wave(monitored, 8)
    monitored.driver.report(3, 0, 64, step=2)
    kill(monitored, 3)
    seen = snapshot(monitored)
    assert statuses(monitored)[3] is EngineStatus.GONE, "at once, before any alarm"
    assert (seen.running, standing.left_out(seen)) == (56, "64 at rank 3, gone")
    told = "Wave 0 is running; last confirmed by rank 0, step 1; rank 3 is gone, and a step takes every rank"
    assert sentences.state_text(seen, monitored.now) == told
    alarm = monitored.wait(2.5)["engine_gone"]
    assert alarm.engines == (3,)
    assert alarm.title == "Engine gone: rank 3, pid 2903 VLLM::EngineCore_DP3: connection closed"
    monitored.wait(120)
    assert monitored.kinds() == {"engine_gone"}, "the others wait for it in their step"
    assert EngineStatus.SUSPECT not in statuses(monitored)
    waits = "nothing new for 2 min 2 s: requests; rank 3 is gone, and a step takes every rank"
    assert standing.text(snapshot(monitored), 0, EngineStatus.QUIET, {}, monitored.now) == waits


def test_a_step_of_before_an_engine_was_replaced_confirms_none_after_it() -> None:
    monitored = named_engines(4, 80_000)
    running_wave(monitored, 8)
    kill(monitored, 3, 80_000)
    for channel in (Channel.BACK_OUTPUT, Channel.BACK_PUBLISH):
        monitored.driver.feed(connects(channel, pid=3903, engine_index=3))
    monitored.wait(20)
    seen = snapshot(monitored)
    assert (seen.state, seen.wave.joined, seen.wave.confirmed_by) == (DeploymentState.RUNNING, (0, 1, 2), None)
    assert (sentences.state_tone(seen, None), monitored.kinds()) == (Tone.PLAIN, set())
    monitored.driver.report(3, 0, 1, step=2)
    assert sentences.state_tone(snapshot(monitored), None) is Tone.GOOD


def test_a_wave_that_does_not_start_for_want_of_an_engine_accuses_none_of_the_others() -> None:
    monitored = MonitoredCore(4)
    report_all(monitored, 0, step=0)
    monitored.driver.feed(engine_unsubscribes())
    monitored.driver.feed(StartWaveRequested(1, 0))
    alarm = monitored.wait(8)["asked_not_stepping"]
    assert (alarm.title, alarm.engines) == ("An engine is gone, and wave 0, which was asked for, does not start", ())


def test_of_requests_in_a_paused_deployment_nobody_says_that_they_are_normal() -> None:
    monitored = held_up()
    monitored.wait(6)
    text = standing.text(snapshot(monitored), 0, EngineStatus.QUIET, {}, monitored.now)
    assert text.endswith(": requests, though the engines are paused")


def test_of_engines_that_end_one_over_the_other_the_first_is_named_first() -> None:
    """vLLM's engines end when one of them ends: over Ray all are gone a third of a second later."""
    monitored = named_engines(8)
    for rank in (6, *range(6), 7):
        kill(monitored, rank)
        monitored.wait(0.1)
    alarm = monitored.wait(2.5)["engine_gone"]
    assert alarm.title.startswith("Engines gone: rank 6, pid 2906 VLLM::EngineCore_DP6: connection closed; rank 0, ")
    assert alarm.title.endswith("; 5 more")
    assert alarm.engines == tuple(range(8))


@pytest.mark.parametrize("engines", [6, 8])
def test_steady_generation_on_six_ranks_is_quiet_and_nothing_is_raised_for_ten_minutes(engines: int) -> None:
    monitored = MonitoredCore(engines)
    monitored.driver.feed(StartWaveRequested(0, 0))
    report_all(monitored, 2, step=1, ranks=range(6))
    for _ in range(200):
        monitored.wait(3)
        assert set(statuses(monitored)[:6]) <= {EngineStatus.WORKING, EngineStatus.QUIET}
    assert EngineStatus.QUIET in statuses(monitored)
    assert monitored.raised == []


def test_an_imbalance_is_counted_across_pauses() -> None:
    monitored = MonitoredCore(64)
    for _ in range(3):
        monitored.driver.feed(StartWaveRequested(0, monitored.driver.core.current_wave))
        loads_for(monitored, tuple(70 if rank == 3 else 10 for rank in range(64)), 20)
        end_wave(monitored)
        monitored.wait(10)
    assert "load_imbalance" in [kind for _, kind in monitored.raised]
    assert [kind for _, kind in monitored.raised if kind != "load_imbalance"] == []


def test_silence_accuses_the_rank_that_fell_silent_first() -> None:
    monitored = MonitoredCore(4)
    running_wave(monitored, 16)
    for step in range(40):
        report_all(monitored, 16 + step % 2, step=2 + step, ranks=range(3))
        monitored.wait(1)
    alarm = monitored.alarms["rank_silent"]
    assert alarm.engines == (3,)
    assert monitored.wait(60)["rank_silent"].engines == (3,), "all are silent now, and it was the first"


def two_with_one_index() -> MonitoredCore:
    monitored = MonitoredCore(2)
    for number in (60_001, 60_002):
        monitored.driver.feed(connects(Channel.BACK_OUTPUT, number, pid=number, engine_index=0))
    return monitored


def test_a_rank_that_was_never_heard_of_while_all_others_work() -> None:
    monitored = MonitoredCore(2)
    for step in range(40):
        monitored.driver.report(0, 0, 9 + step % 2, step=step)
        monitored.wait(1)
    assert monitored.alarms["never_heard"].title == "Rank 1 was never heard of, while all others work"


def test_more_engines_than_expected_for_a_minute() -> None:
    monitored = MonitoredCore(2)
    monitored.driver.feed(connects(Channel.BACK_PUBLISH))
    assert not monitored.wait(50)
    assert monitored.wait(15)["engine_surplus"].counts == {"subscribed": 3, "expected": 2}


def stopped_wave() -> MonitoredCore:
    monitored = MonitoredCore(4)
    report_all(monitored, 0, step=0)
    monitored.driver.feed(StartWaveRequested(2, 0))
    return monitored


def silent_rank() -> MonitoredCore:
    monitored = MonitoredCore(4)
    running_wave(monitored, 16)
    return monitored


def killed() -> MonitoredCore:
    monitored = named_engines(4, 70_000)
    running_wave(monitored, 16)
    kill(monitored, 1, 70_000)
    return monitored


def held_up() -> MonitoredCore:
    monitored = MonitoredCore(4)
    running_wave(monitored)
    monitored.driver.feed(WaveCompleted(0, 0))
    return monitored


@pytest.mark.parametrize("begin", [stopped_wave, silent_rank, killed, held_up, MonitoredCore])
def test_what_is_suspect_is_named_by_an_alarm_and_what_an_alarm_names_is_marked(
    begin: Callable[[], MonitoredCore],
) -> None:
    monitored = begin()
    for _ in range(120):
        monitored.wait(1)
        said, seen = statuses(monitored), snapshot(monitored)
        named = {rank for alarm in monitored.alarms.values() for rank in alarm.engines}
        marked = {rank for rank, status in enumerate(said) if status in {EngineStatus.SUSPECT, EngineStatus.GONE}}
        assert marked - set(seen.peers.gone) <= named <= marked
        worst = min((alarm.severity for alarm in monitored.alarms.values()), default=None, key=list(Severity).index)
        assert (sentences.state_tone(seen, worst) in {Tone.BAD, Tone.WARN}) is bool(monitored.alarms)
        if "asked_not_stepping" in monitored.alarms:
            assert seen.state is not DeploymentState.RUNNING
