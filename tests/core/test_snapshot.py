"""The snapshot: the state at one moment, as viewers and alarms get it."""

from __future__ import annotations

from dp_coordinator.core.events import StartWaveRequested, WaveCompleted
from dp_coordinator.core.snapshot import EngineColumns, RecoveryPhase, RecoveryState, WaveEvidence
from dp_coordinator.words import DeploymentState
from tests.core.connections import engine_subscribes, front_end_subscribes
from tests.core.deployment import Deployment
from tests.core.driver import Driver


def test_it_is_the_state_at_that_moment() -> None:
    there = Deployment(3, ipc=True)
    driver = there.driver
    driver.feed(front_end_subscribes())
    driver.feed(WaveCompleted(0, 0), at=1.0)
    seen = driver.core.snapshot(7.0)
    assert (seen.at, seen.dialect, seen.wave_coordination, seen.ready) == (7.0, "0.33", True, True)
    assert (seen.current_wave, seen.engines_running, seen.state, seen.state_since) == (
        1,
        False,
        DeploymentState.PAUSED,
        0.0,
    )
    assert (seen.wave, seen.start_blocked, seen.recovery, seen.actions) == (WaveEvidence(1), None, None, ())
    assert (seen.engine_count, seen.engines_subscribed, seen.front_ends) == (3, 3, 1)
    assert (seen.waiting, seen.running) == (None, None)


def test_what_a_rank_that_is_gone_had_is_in_no_total() -> None:
    there = Deployment(3, ipc=True)
    for rank, (waiting, running) in enumerate([(1, 2), (0, 3), (4, 5)]):
        there.driver.report(rank, waiting, running, step=rank)
    there.engine_goes(2)
    seen = there.driver.core.snapshot(7.0)
    assert (seen.waiting, seen.running) == (1, 5)
    blocked = there.driver.core.start_blocked()
    assert blocked is not None
    assert seen.start_blocked == blocked[1]
    at = there.driver.now
    assert seen.engines == EngineColumns(
        (1, 0, 4), (2, 3, 5), (0.0, 0.0, 0.0), (0, 1, 2), (0, 0, 0), (at, at, at), (0, 0, 0)
    )


def test_who_is_there_is_made_anew_when_somebody_comes() -> None:
    there = Deployment(2, ipc=True)
    first, again = there.driver.core.snapshot(1.0), there.driver.core.snapshot(2.0)
    assert first.peers is again.peers
    assert first.peers_version == again.peers_version
    there.engine_goes(1)
    later = there.driver.core.snapshot(3.0)
    assert (later.peers_version > first.peers_version, list(later.peers.gone)) == (True, [1])


def test_the_open_wave_is_the_last_of_the_records_and_not_completed() -> None:
    driver = Driver()
    driver.feed(StartWaveRequested(0, 0))
    driver.feed(WaveCompleted(0, 0), at=1.0)
    driver.feed(StartWaveRequested(0, 1), at=2.0)
    told = [(wave.number, wave.ended_at, wave.completed) for wave in driver.core.snapshot(3.0).waves]
    assert told == [(0, 1.0, True), (1, None, False)]


def test_a_recovery_says_what_it_resumed_and_when_it_was_over() -> None:
    driver = Driver()
    driver.feed(WaveCompleted(0, 3))
    driver.advance_to(5.0)
    driver.restart()
    resumed = driver.now
    assert driver.core.snapshot(resumed).recovery == RecoveryState(RecoveryPhase.REJOINING, 4, resumed, 0, 2, None)
    for _ in range(2):
        driver.feed(engine_subscribes())
    driver.feed(WaveCompleted(0, 4), at=6.0)
    recovery = driver.core.snapshot(7.0).recovery
    assert recovery is not None
    assert (recovery.phase, recovery.resumed_wave, recovery.finished_at) == (RecoveryPhase.DONE, 4, 6.0)
