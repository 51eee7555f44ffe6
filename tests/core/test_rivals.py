"""Several connections that report as one engine: which of them takes the place of another, and which are both alive."""

from __future__ import annotations

import pytest

from dp_coordinator.core.events import PeerIdentified
from tests.core.connections import connects, disconnects
from tests.core.deployment import BACK, OUTPUT, Deployment
from tests.core.driver import Driver, records


def test_two_engines_with_one_index() -> None:
    there = Deployment(count=2)
    one, two = there.number(0, 0), there.number(1, 0)
    for reporting in (two, one, two):  # each takes the place of the other: both are alive
        there.driver.feed(PeerIdentified(reporting, 0))
    assert [{peer.id for peer in both} for both in there.view.rivals.values()] == [{one, two}]
    assert list(there.view.rivals) == [0]
    assert there.subscribed == 2
    there.driver.feed(disconnects(OUTPUT, one))
    assert not there.view.rivals


def test_one_of_two_with_one_index_that_goes_leaves_the_other_as_it_is() -> None:
    there = Deployment(count=2)
    one, two = there.number(0, 0), there.number(1, 0)
    for reporting in (two, one):
        there.driver.feed(PeerIdentified(reporting, 0))
    there.engine_goes(1)
    assert (there.subscribed, dict(there.view.rivals)) == (1, {})


def test_the_second_that_reports_as_a_rank_is_alive_beside_it_where_nobody_is_too_many() -> None:
    driver = Driver(2, ready=False)
    for number in (1, 2):
        driver.feed(connects(OUTPUT, number, socket_type="PUSH", host="10.0.0.1"))
        driver.feed(connects(BACK, 1000 + number, host="10.0.0.1"))
        driver.feed(PeerIdentified(number, 0))
    assert list(driver.core.snapshot(0.0).peers.rivals) == [0]
    assert driver.core.engines_subscribed == 2


def test_a_new_link_to_back_output_alone_takes_the_place_of_the_dead_one() -> None:
    there = Deployment(count=2)
    there.driver.feed(connects(OUTPUT, 90, socket_type="PUSH", host="10.0.0.0"))
    there.driver.feed(PeerIdentified(90, 0))
    assert not there.view.rivals


def test_one_that_changes_its_rank_is_alive_beside_the_other_though_somebody_is_too_many() -> None:
    there = Deployment(count=2)
    there.driver.feed(connects(OUTPUT, 90, socket_type="PUSH", host="10.0.0.9"))
    there.driver.feed(PeerIdentified(there.number(0, 0), 1))
    assert list(there.view.rivals) == [1]


@pytest.mark.parametrize("ipc", [True, False], ids=["ipc", "tcp"])
def test_one_that_names_another_rank_takes_nobodys_place(ipc: bool) -> None:
    there = Deployment(3, ipc=ipc)
    liar = there.number(0, 0)
    there.driver.feed(PeerIdentified(liar, 1))
    assert (there.subscribed, there.view.missing) == (3, 0)
    assert {peer.id for peer in there.view.rivals[1]} == {liar, there.number(1, 0)}
    there.driver.feed(PeerIdentified(liar, 0))
    assert not there.view.rivals
    there.engine_goes(1)
    assert list(there.view.gone) == [1]


@pytest.mark.parametrize("ipc", [True, False], ids=["ipc", "tcp"])
def test_of_engines_that_all_say_one_index_each_is_there_and_named(ipc: bool) -> None:
    there = Deployment(3, ipc=ipc)
    for rank in range(3):
        there.driver.feed(PeerIdentified(there.number(rank, 0), 0))
    for step in (9, 1, 9, 1):
        assert "engine_counters_reset" not in records(there.driver.report(0, 0, 1, step=step))
    assert (there.subscribed, there.view.missing, len(there.view.rivals[0])) == (3, 0, 3)
    there.engine_goes(1)
    assert len(there.view.rivals[0]) == 2
    there.engine_goes(2)
    assert not there.view.rivals
