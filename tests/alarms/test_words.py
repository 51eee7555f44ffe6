"""What is said of the ranks and the deployment is so, and no two of those who say it disagree."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dp_coordinator import sentences, standing
from dp_coordinator.core.events import ManualStartRequested, StartWaveRequested, WaveCompleted
from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.words import ActionState, Channel, DeploymentState, EngineStatus, Severity, Tone
from tests.alarms.monitored_core import MonitoredCore, end_wave, loads_for, report_all, running_wave
from tests.core.connections import connects, disconnects


def snapshot(patient: MonitoredCore) -> Snapshot:
    return patient.driver.core.snapshot(patient.now)


def statuses(patient: MonitoredCore) -> list[EngineStatus]:
    named = {rank for alarm in patient.alarms.values() for rank in alarm.engines}
    return standing.statuses(snapshot(patient), named, patient.now)


def named_engines(engines: int, first: int = 50_000) -> MonitoredCore:
    """Engines on this machine, each with two connections of one process that says which rank it is."""
    patient = MonitoredCore(engines, ready=False)
    for rank in range(engines):
        of_one = {"pid": 2900 + rank, "title": f"VLLM::EngineCore_DP{rank}", "engine_index": rank}
        for number, channel in ((rank, Channel.BACK_OUTPUT), (engines + rank, Channel.BACK_PUBLISH)):
            patient.driver.feed(connects(channel, first + number, **of_one))  # type: ignore[arg-type]
    patient.wait(0.1)
    return patient


def kill(patient: MonitoredCore, rank: int, first: int = 50_000) -> None:
    for number, channel in (
        (rank, Channel.BACK_OUTPUT),
        (patient.driver.core.engine_count + rank, Channel.BACK_PUBLISH),
    ):
        patient.driver.feed(disconnects(channel, first + number))


def test_a_dense_model_serves() -> None:
    patient = MonitoredCore(8, wave_coordination=False)
    report_all(patient, 12, step=0, ranks=range(7))
    patient.driver.report(7, 0, 8)
    patient.wait(1)
    seen = snapshot(patient)
    assert (seen.state, seen.running, patient.kinds()) == (DeploymentState.SERVING, 92, set())


def test_a_wave_that_was_announced_and_does_not_step_is_nowhere_called_running() -> None:
    patient = MonitoredCore(8)
    report_all(patient, 0, step=0)
    patient.driver.feed(StartWaveRequested(0, 0))
    patient.wait(6)
    seen, alarm = snapshot(patient), patient.alarms["asked_not_stepping"]
    assert (seen.state, alarm.engines) == (DeploymentState.STARTING, tuple(range(1, 8)))
    assert "joined by rank 0" in sentences.state_text(seen, patient.now)
    assert sentences.state_tone(seen, alarm.severity) is Tone.BAD


def test_of_a_manual_start_that_two_ranks_join_nobody_says_more_than_is_seen() -> None:
    patient = MonitoredCore(8)
    patient.driver.feed(ManualStartRequested("why", "me"))
    for rank in (0, 1):
        patient.driver.report(rank, 0, 1)
    patient.wait(60)
    seen = snapshot(patient)
    (action,) = seen.actions
    assert (seen.state, seen.wave.joined, seen.wave.confirmed_at) == (DeploymentState.RUNNING, (0, 1), None)
    assert "step not confirmed yet" in sentences.state_text(seen, patient.now)
    assert sentences.state_tone(seen, None) is Tone.PLAIN
    assert (action.state, patient.kinds()) == (ActionState.CANNOT_TELL, set())


def test_an_engine_that_is_killed_under_load_is_named_everywhere_and_nobody_else_is_accused() -> None:
    patient = named_engines(8)
    running_wave(patient, 8)
    patient.driver.report(3, 0, 64, step=2)
    kill(patient, 3)
    seen = snapshot(patient)
    assert statuses(patient)[3] is EngineStatus.GONE, "at once, before any alarm"
    assert (seen.running, standing.left_out(seen)) == (56, "64 at rank 3, gone")
    alarm = patient.wait(2.5)["engine_gone"]
    assert alarm.engines == (3,)
    assert alarm.title == "Engine gone: rank 3, pid 2903 VLLM::EngineCore_DP3: connection closed"
    patient.wait(120)
    assert patient.kinds() == {"engine_gone"}, "the others wait for it in their step"
    assert EngineStatus.SUSPECT not in statuses(patient)


def test_steady_generation_is_quiet_and_nothing_is_raised_for_ten_minutes() -> None:
    patient = MonitoredCore(6)
    running_wave(patient, 2)
    for _ in range(200):
        patient.wait(3)
        assert set(statuses(patient)) <= {EngineStatus.WORKING, EngineStatus.QUIET}
    assert EngineStatus.QUIET in statuses(patient)
    assert patient.raised == []


def test_an_imbalance_is_counted_across_pauses() -> None:
    patient = MonitoredCore(64)
    for _ in range(3):
        patient.driver.feed(StartWaveRequested(0, patient.driver.core.current_wave))
        loads_for(patient, tuple(70 if rank == 3 else 10 for rank in range(64)), 20)
        end_wave(patient)
        patient.wait(10)
    assert "load_imbalance" in [kind for _, kind in patient.raised]
    assert [kind for _, kind in patient.raised if kind != "load_imbalance"] == []


def test_silence_accuses_the_rank_that_fell_silent_first() -> None:
    patient = MonitoredCore(4)
    running_wave(patient, 16)
    for step in range(40):
        report_all(patient, 16 + step % 2, step=2 + step, ranks=range(3))
        patient.wait(1)
    alarm = patient.alarms["rank_silent"]
    assert alarm.engines == (3,)
    assert patient.wait(60)["rank_silent"].engines == (3,), "all are silent now, and it was the first"


def two_with_one_index() -> MonitoredCore:
    patient = MonitoredCore(2)
    for number in (60_001, 60_002):
        patient.driver.feed(connects(Channel.BACK_OUTPUT, number, pid=number, engine_index=0))
    return patient


def test_a_rank_that_was_never_heard_of_while_all_others_work() -> None:
    patient = MonitoredCore(2)
    for step in range(40):
        patient.driver.report(0, 0, 9 + step % 2, step=step)
        patient.wait(1)
    assert patient.alarms["never_heard"].title == "Rank 1 was never heard of, while all others work"


def test_more_engines_than_expected_for_a_minute() -> None:
    patient = MonitoredCore(2)
    patient.driver.feed(connects(Channel.BACK_PUBLISH))
    assert not patient.wait(50)
    assert patient.wait(15)["engine_surplus"].counts == {"subscribed": 3, "expected": 2}


def stopped_wave() -> MonitoredCore:
    patient = MonitoredCore(4)
    report_all(patient, 0, step=0)
    patient.driver.feed(StartWaveRequested(2, 0))
    return patient


def silent_rank() -> MonitoredCore:
    patient = MonitoredCore(4)
    running_wave(patient, 16)
    return patient


def killed() -> MonitoredCore:
    patient = named_engines(4, 70_000)
    running_wave(patient, 16)
    kill(patient, 1, 70_000)
    return patient


def held_up() -> MonitoredCore:
    patient = MonitoredCore(4)
    running_wave(patient)
    patient.driver.feed(WaveCompleted(0, 0))
    return patient


@pytest.mark.parametrize("begin", [stopped_wave, silent_rank, killed, held_up, MonitoredCore])
def test_what_is_suspect_is_named_by_an_alarm_and_what_an_alarm_names_is_marked(
    begin: Callable[[], MonitoredCore],
) -> None:
    patient = begin()
    for _ in range(120):
        patient.wait(1)
        said, seen = statuses(patient), snapshot(patient)
        named = {rank for alarm in patient.alarms.values() for rank in alarm.engines}
        marked = {rank for rank, status in enumerate(said) if status in {EngineStatus.SUSPECT, EngineStatus.GONE}}
        assert marked - set(seen.peers.gone) <= named <= marked
        worst = min((alarm.severity for alarm in patient.alarms.values()), default=None, key=list(Severity).index)
        assert (sentences.state_tone(seen, worst) in {Tone.BAD, Tone.WARN}) is bool(patient.alarms)
        if "asked_not_stepping" in patient.alarms:
            assert seen.state is not DeploymentState.RUNNING
