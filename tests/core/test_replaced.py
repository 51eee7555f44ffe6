"""A rank whose connection, or process, is another one: what of the old one counts on, and what does not."""

from __future__ import annotations

import pytest

from dp_coordinator.core.events import (
    EngineStatsReported,
    PeerIdentified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.words import DeploymentState
from tests.core.connections import connects, disconnects
from tests.core.deployment import OUTPUT, Deployment
from tests.core.driver import records


def test_one_that_comes_back_in_another_process_is_replaced_when_its_title_tells_who_it_is() -> None:
    there = Deployment(ipc=True)
    there.driver.report(1, 2, 3)
    there.engine_goes(1)
    driver = there.driver
    driver.advance_to(7.0)
    assert records(driver.feed(connects(OUTPUT, 2001, socket_type="PUSH", pid=99, engine_index=1))) == [
        "engine_replaced"
    ]
    driver.advance(0.2)
    assert there.counts[1] == (0, 0)


@pytest.mark.parametrize("ipc", [True, False], ids=["ipc", "tcp"])
def test_a_replacement_that_comes_before_the_old_one_has_ended_begins_with_nothing(ipc: bool) -> None:
    there = Deployment(ipc=ipc)
    there.driver.report(1, 2, 3, step=5)
    there.driver.advance(1)
    there.engine_comes(1, 1, reports=ipc)
    there.engine_goes(1)
    if not ipc:  # over tcp only what it reports tells whose it is
        there.driver.feed(PeerIdentified(there.number(1, 1), 1))
    there.driver.advance(1)
    assert there.counts[1] == (0, 0)
    assert there.driver.core.snapshot(there.driver.now).engines.restarts == (0, 1)


@pytest.mark.parametrize("later", [0.0, 1.0], ids=["in the same moment", "later"])
def test_what_was_reported_since_the_newer_connection_was_made_is_the_newer_ones(later: float) -> None:
    there = Deployment(count=3)
    there.driver.advance(1)
    there.engine_comes(1, 1)
    there.driver.advance(later)
    there.driver.report(1, 2, 3)
    assert "engine_replaced" not in records(there.driver.feed(disconnects(OUTPUT, there.number(1, 0))))
    there.driver.advance(1)
    assert there.counts[1] == (2, 3)


def test_a_report_that_goes_back_by_a_new_connection_is_of_an_engine_that_was_restarted() -> None:
    there = Deployment()
    there.driver.report(0, 0, 3, wave=4, step=5)
    there.driver.advance(1)
    there.engine_comes(0, 1)
    assert records(there.driver.report(0, 0, 1)) == ["engine_replaced"]
    there.driver.report(0, 0, 1, step=3)
    there.driver.advance(1)
    assert records(there.driver.report(0, 0, 1)) == ["engine_counters_reset"]
    assert there.driver.core.snapshot(there.driver.now).engines.restarts == (1, 0)


@pytest.mark.parametrize("ipc", [True, False], ids=["ipc", "tcp"])
@pytest.mark.parametrize("reports", [True, False], ids=["reports first", "publication first"])
def test_a_replaced_ranks_counts_are_zero_at_once(ipc: bool, reports: bool) -> None:
    there = Deployment(ipc=ipc)
    there.driver.report(0, 0, 5)
    there.driver.report(1, 2, 3)
    there.driver.advance(1)
    there.engine_goes(1)
    there.driver.advance(1)
    assert there.driver.loads()[-1].counts[1][:2] == (2, 3), "a gone rank keeps its last counts, as vLLM's does"
    there.engine_comes(1, 1, reports=reports)
    assert "engine_replaced" in records(there.effects)
    there.driver.advance(0.2)
    assert [counts[:2] for counts in there.driver.loads()[-1].counts] == [(0, 5), (0, 0)]


def test_of_a_wave_what_the_others_did_remains_when_the_one_that_confirmed_it_is_replaced() -> None:
    there = Deployment(5, ipc=True)
    driver = there.driver
    driver.feed(WaveCompleted(0, 0))
    driver.feed(StartWaveRequested(4, 1), at=1.0)
    driver.feed(EngineStatsReported(0, 0, 2, 0.0, 1, 1), at=2.0)
    driver.feed(EngineStatsReported(1, 0, 3, 0.0, 1, 1), at=3.0)  # nobody looks who joins any more
    driver.report(2, 0, 2, wave=0, step=31)  # is in the wave before
    driver.report(3, 1, 0, wave=1, step=1)  # has not begun
    assert driver.core.snapshot(4.0).wave.confirmed_by == "rank 0, step 1"
    there.engine_goes(0)
    there.engine_comes(0, 1)
    seen = driver.core.snapshot(5.0)
    assert (seen.state, seen.wave.confirmed_at, seen.wave.joined) == (DeploymentState.RUNNING, None, (1, 4))
    opened = driver.core.state.log.open
    assert opened is not None
    assert opened.joined[1] == 3.0


def test_a_wave_that_was_confirmed_by_an_idle_rank_has_begun_when_that_is_replaced() -> None:
    there = Deployment(ipc=True)
    there.driver.report(1, 0, 0)  # engines that report are asked for more than an announcement
    there.driver.feed(StartWaveRequested(1, 0))
    there.driver.report(0, 0, 0, step=1)
    there.engine_goes(0)
    there.engine_comes(0, 1)
    assert there.driver.core.snapshot(1.0).state is DeploymentState.RUNNING


def test_of_the_last_whole_step_a_rank_that_was_replaced_since_is_no_part() -> None:
    there = Deployment(ipc=True)
    there.driver.report(0, 0, 2, step=1)
    there.driver.report(1, 0, 3, step=1)
    there.driver.report(0, 0, 4, step=2)
    there.engine_goes(1)
    there.engine_comes(1, 1)
    published = len(there.driver.loads())
    there.driver.advance(0.1)
    assert [counts[:2] for counts in there.driver.loads()[published].counts] == [(0, 2), (0, 0)]


@pytest.mark.parametrize(("ipc", "why"), [(True, "connection closed"), (False, "timed out")])
def test_an_engine_that_is_back_keeps_its_counts(ipc: bool, why: str) -> None:
    there = Deployment(ipc=ipc)
    there.driver.report(1, 2, 3)
    there.engine_goes(1, why=why)
    there.engine_comes(1)
    there.driver.advance(1)
    assert there.driver.loads()[-1].counts[1][:2] == (2, 3)
