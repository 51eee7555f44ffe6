"""A deployment that changes its size: who joins and who leaves, as the core counts and names them."""

from __future__ import annotations

import pytest

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.effects import Reject
from dp_coordinator.core.events import EngineCountChanged, EngineStatsReported
from dp_coordinator.core.scaling import EARLY_KEPT, LEAVING, MAX_ENGINES
from tests.core.connections import connects
from tests.core.deployment import BACK, Deployment
from tests.core.driver import starts


def report(rank: int, running: int) -> EngineStatsReported:
    return EngineStatsReported(rank, 0, running, 0.0, 0, 0)


def test_ranks_that_come_before_scale_join_and_their_newest_reports_are_kept() -> None:
    there = Deployment(4)
    for rank in range(4, 8):
        there.engine_comes(rank)
        assert starts(there.effects) == []
    effects = [e for running in (1, 2) for rank in range(4, 8) for e in there.driver.feed(report(rank, running))]
    assert not [e for e in effects if isinstance(e, Reject)]
    assert (there.view.joining, there.view.surplus, there.subscribed) == ((4, 5, 6, 7), 0, 8)
    there.driver.feed(EngineCountChanged(8))
    there.driver.advance(1)
    assert there.counts == [(0, 0)] * 4 + [(0, 2)] * 4
    assert (there.view.joining, there.view.surplus, dict(there.view.gone)) == ((), 0, {})


def test_ranks_that_join_in_two_steps_are_published_with_what_they_reported() -> None:
    there = Deployment(2)
    for rank in (2, 3):
        there.engine_comes(rank)
        there.driver.feed(report(rank, rank))
    for count in (3, 4):
        there.driver.feed(EngineCountChanged(count))
    there.driver.advance(1)
    assert there.counts == [(0, 0), (0, 0), (0, 2), (0, 3)]


def test_early_subscribers_that_nobody_can_name_are_a_surplus() -> None:
    there = Deployment(2)
    there.driver.feed(connects(BACK, 70))
    assert (there.view.joining, there.view.surplus) == ((), 1)


def test_ranks_that_left_are_no_strangers_for_a_while() -> None:
    there = Deployment(4)
    there.driver.feed(EngineCountChanged(2))
    assert not there.driver.feed(report(3, 1))
    assert (there.view.joining, there.view.surplus) == ((), 0)
    for rank in (2, 3):
        there.engine_goes(rank)
    assert not there.driver.feed(report(2, 1))
    there.driver.advance(LEAVING)
    assert [e.kind for e in there.driver.feed(report(3, 1)) if isinstance(e, Reject)] == ["index_out_of_range"]
    for rank in (2, 3):
        there.engine_comes(rank, 1)
    there.driver.feed(EngineCountChanged(4))
    there.driver.advance(1)
    assert there.counts[2:] == [(0, 0), (0, 0)]


@pytest.mark.parametrize("old_ones_go", [True, False])
@pytest.mark.parametrize("ipc", [True, False], ids=["ipc", "tcp"])
def test_ranks_that_left_and_join_again_at_once_join(ipc: bool, old_ones_go: bool) -> None:
    there = Deployment(4, ipc=ipc)
    there.driver.feed(EngineCountChanged(2))
    for rank in (2, 3):
        there.driver.feed(report(rank, 9))
        there.driver.advance(1)
        if old_ones_go:
            there.engine_goes(rank)
    for rank in (2, 3):
        there.engine_comes(rank, 1, titled=True)
        assert starts(there.effects) == [] or not ipc
        there.driver.feed(report(rank, 5))
    assert (there.view.joining, there.view.surplus, there.view.rivals) == ((2, 3), 0, {})
    there.driver.feed(EngineCountChanged(4))
    there.driver.advance(1)
    assert there.counts == [(0, 0), (0, 0), (0, 5), (0, 5)]


@pytest.mark.parametrize("ipc", [True, False], ids=["ipc", "tcp"])
def test_who_joins_or_leaves_hides_no_loss(ipc: bool) -> None:
    there = Deployment(4, ipc=ipc)
    for rank in (4, 5):
        there.engine_comes(rank)
    there.engine_goes(2)
    assert (list(there.view.gone), there.view.missing_unnamed, there.view.joining) == ([2], 0, (4, 5))
    if ipc:  # over tcp only its first report tells that this is not rank 2
        there.engine_comes(6, titled=True)
        assert list(there.view.gone) == [2]
    there.engine_comes(2, 1)
    assert (there.view.missing, there.view.joining[:2], there.view.surplus) == (0, (4, 5), 0)
    there.driver.feed(EngineCountChanged(6))
    there.driver.feed(EngineCountChanged(4))
    there.engine_goes(1)
    assert (list(there.view.gone), there.view.missing_unnamed) == ([1], 0)


def test_while_nobody_joins_a_rank_beyond_the_last_is_a_stranger() -> None:
    there = Deployment(2)
    assert [e.kind for e in there.driver.feed(report(2, 1)) if isinstance(e, Reject)] == ["index_out_of_range"]


def test_of_a_peer_that_makes_ranks_up_a_bounded_number_is_kept() -> None:
    there = Deployment(2)
    there.engine_comes(2)
    effects = [e for rank in range(2, 2 + EARLY_KEPT + 5) for e in there.driver.feed(report(rank, 1))]
    assert len([e for e in effects if isinstance(e, Reject)]) == 5
    assert len(there.view.joining) == 1


@pytest.mark.parametrize("count", [1, MAX_ENGINES])
def test_a_deployment_begins_at_0_with_as_many_engines_as_are_possible(count: int) -> None:
    core = Coordinator(count, Dialect.for_version("0.33"))
    assert (core.engine_count, core.snapshot(0.0).state_since) == (count, 0.0)


@pytest.mark.parametrize("count", [0, MAX_ENGINES + 1])
def test_a_deployment_of_an_absurd_size_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"^engine_count must be 1 to {MAX_ENGINES}, not {count}$"):
        Coordinator(count, Dialect.for_version("0.33"))


def test_a_scale_that_waited_is_published_as_soon_as_its_engines_are_there() -> None:
    there = Deployment(2)
    there.driver.advance_to(1.0)
    there.driver.feed(EngineCountChanged(3))
    there.engine_comes(2)
    there.driver.advance(0.2)
    assert len(there.counts) == 3
