"""Reports of load that are more than a change of it, and those of ranks that the deployment has not."""

from __future__ import annotations

import pytest

from dp_coordinator.core.effects import LogEvent, Reject
from dp_coordinator.core.events import EngineCountChanged, EngineStatsReported, StartWaveRequested
from dp_coordinator.core.observation import Evidence, evidence
from tests.core.connections import engine_unsubscribes
from tests.core.deployment import Deployment
from tests.core.driver import Driver


def report(rank: int, running: int = 0, *, step: int = 0, wave: int = 0) -> EngineStatsReported:
    return EngineStatsReported(rank, 0, running, 0.0, step, wave)


@pytest.mark.parametrize(
    ("running", "step", "shown"),
    [
        (0, 0, None),
        (1, 0, Evidence(2, 7, working=True)),
        (0, 1, Evidence(2, 7, working=False, confirmed_by="rank 2, step 1")),
        (1, 1, Evidence(2, 7, working=True, confirmed_by="rank 2, step 1")),
    ],
)
def test_what_one_shows_beside_its_counts(running: int, step: int, shown: Evidence | None) -> None:
    assert evidence(report(2, running, step=step, wave=7)) == shown


def test_those_of_ranks_that_leave_or_that_nobody_knows_hide_none_of_the_others() -> None:
    driver = Driver(4)
    for _ in range(2):
        driver.feed(engine_unsubscribes())
    driver.feed(EngineCountChanged(2))
    effects = driver.core.handle_reports([report(3, 1), report(9, 1), report(0, 5), report(1, 6)], 0.0)
    assert [effect.detail for effect in effects if isinstance(effect, Reject)] == [
        "engine 9 reported, but engines are 0 to 1"
    ]
    assert driver.core.snapshot(0.0).engines.running == (5, 6)


def test_a_whole_step_may_lie_within_one_batch() -> None:
    driver = Driver()
    driver.feed(StartWaveRequested(0, 0))
    driver.advance(0.1)
    published = len(driver.loads())
    batch = [report(0, 2, step=1), report(1, 3, step=1), report(0, 9, step=2)]
    driver.core.handle_reports(batch, driver.now)
    driver.advance(0.06)
    assert [counts[:2] for counts in driver.loads()[published].counts] == [(0, 2), (0, 3)]


@pytest.mark.parametrize(
    ("gone", "names"),
    [
        (1, "1 of 10 engines is gone (rank 0)"),
        (2, "2 of 10 engines are gone (ranks 0, 1)"),
        (8, "8 of 10 engines are gone (ranks 0, 1, 2, 3, 4, 5, 6, 7)"),
        (9, "9 of 10 engines are gone (ranks 0, 1, 2, 3, 4, 5, 6, 7 and 1 more)"),
    ],
)
def test_who_is_missing_is_why_no_wave_can_be_started_by_hand(gone: int, names: str) -> None:
    there = Deployment(10, ipc=True)
    for rank in range(gone):
        there.engine_goes(rank)
    blocked = there.driver.core.start_blocked()
    assert blocked is not None
    assert blocked[1] == f"{names}; a wave needs all of them"


@pytest.mark.parametrize("rank", [0, 1])
def test_beside_one_of_a_stranger_one_is_evidence_all_the_same(rank: int) -> None:
    driver = Driver()
    driver.feed(StartWaveRequested(1 - rank, 1))
    driver.core.handle_reports([report(7, 1, step=9, wave=1), report(rank, 2, step=3, wave=1)], driver.now)
    assert driver.core.snapshot(driver.now).wave.confirmed_by == f"rank {rank}, step 3"


def test_one_that_brings_a_wave_out_is_evidence_of_it_too() -> None:
    driver = Driver()
    driver.feed(StartWaveRequested(0, 20))
    driver.report(1, 0, 2, wave=20, step=3)
    assert driver.core.snapshot(0.0).wave.confirmed_by == "rank 1, step 3"


def test_a_first_one_and_one_of_another_process_are_recorded() -> None:
    there = Deployment()
    (first,) = (each for each in there.driver.report(0, 0, 3, step=5) if isinstance(each, LogEvent))
    assert (first.kind, dict(first.fields)) == ("engine_first_report", {"engine": 0})
    for process in (1, 2):
        there.driver.advance(1)
        there.engine_comes(0, process)
        name = next(
            connection.peer.name
            for connection, _, _ in there.view.connections
            if connection.peer.id == there.number(0, process)
        )
        (again,) = (each for each in there.driver.report(0, 0, 1, step=5 - process) if isinstance(each, LogEvent))
        assert (again.kind, dict(again.fields)) == ("engine_replaced", {"engine": 0, "peer": name})
    assert there.driver.core.snapshot(9.0).engines.restarts == (2, 0)
