"""Who is there, and who is not: connections to the coordinator's sockets, as the core counts and names them."""

from __future__ import annotations

import pytest

from dp_coordinator.core.effects import LogEvent
from dp_coordinator.core.events import (
    EngineCountChanged,
    PeerIdentified,
)
from dp_coordinator.core.state import Scaled
from dp_coordinator.core.whose import kind_of
from dp_coordinator.words import Channel, PeerKind
from tests.core.connections import connects, disconnects
from tests.core.deployment import BACK, OUTPUT, Deployment
from tests.core.driver import Driver, announced, records


@pytest.mark.parametrize("host", ["10.0.0.0", "10.0.0.9"], ids=["of an engine's host", "of another host"])
def test_a_tap_before_ready_is_no_engine(host: str) -> None:
    driver = Driver(2, ready=False)
    driver.feed(connects(BACK, 90, socket_type="SUB", host=host))
    driver.feed(connects(OUTPUT, 1, socket_type="PUSH", host="10.0.0.0"))
    driver.feed(connects(BACK, 2, host="10.0.0.0"))
    driver.feed(connects(OUTPUT, 3, socket_type="PUSH", host="10.0.0.0"))
    assert not driver.core.ready
    assert driver.core.engines_subscribed == 1
    assert next(kind for _, kind, _ in driver.core.snapshot(0.0).peers.connections) is PeerKind.TAP
    driver.feed(connects(BACK, 4, host="10.0.0.0"))
    assert driver.core.ready
    driver.feed(disconnects(BACK, 90))
    assert driver.core.engines_subscribed == 2


def test_a_tap_whose_process_sends_is_an_engine_of_somebodys_own() -> None:
    driver = Driver(1, ready=False)
    driver.feed(connects(OUTPUT, 1, socket_type="PUSH", pid=77))
    driver.feed(connects(BACK, 2, socket_type="SUB", pid=77))
    assert driver.core.ready


def test_where_one_process_is_several_engines_whatever_reports_for_them_tells_no_subscription() -> None:
    driver = Driver(3)
    for peer_id in (11, 12):
        driver.feed(connects(BACK, peer_id, pid=77))
    driver.feed(connects(OUTPUT, 1, socket_type="PUSH", pid=77))
    for rank in (1, 2):
        driver.feed(PeerIdentified(1, rank))
    for peer_id in (11, 12):
        (ended,) = (each for each in driver.feed(disconnects(BACK, peer_id)) if isinstance(each, LogEvent))
        assert ended.fields["engine"] is None
    assert not driver.core.snapshot(0.0).peers.gone


@pytest.mark.parametrize("host", ["", "10.0.0.5"], ids=["a host each", "one host"])
def test_a_dead_link_and_its_replacement_are_one_engine(host: str) -> None:
    there = Deployment(host=host)
    there.engine_comes(0, 1, reports=False)
    assert there.subscribed == 3  # nobody knows yet
    there.driver.feed(PeerIdentified(there.number(0, 1), 0))
    assert (there.subscribed, there.view.surplus, dict(there.view.gone)) == (2, 0, {})
    there.engine_goes(1)
    assert (there.subscribed, list(there.view.gone), there.view.missing_unnamed) == (1, [1], 0)
    assert "1 of 2 engines is gone (rank 1)" in str(there.driver.core.start_blocked())
    there.engine_goes(0, why="timed out")
    assert (there.subscribed, list(there.view.gone), there.view.missing_unnamed) == (1, [1], 0)
    there.engine_comes(1, 1)
    assert (there.subscribed, dict(there.view.gone)) == (2, {})


def test_when_only_the_link_to_back_output_died_nobody_is_missing() -> None:
    there = Deployment()
    there.driver.feed(connects(OUTPUT, 500, socket_type="PUSH", host="10.0.0.0"))
    there.driver.feed(PeerIdentified(500, 0))
    assert (there.subscribed, dict(there.view.gone)) == (2, {})


def test_one_beyond_the_last_rank_that_goes_is_missed_by_nobody() -> None:
    there = Deployment()
    there.engine_goes(1)
    there.driver.feed(connects(BACK, 700, host="", engine_index=9))
    there.driver.feed(disconnects(BACK, 700))
    there.driver.feed(connects(BACK, 701, host="", engine_index=9))
    assert dict(there.view.gone).keys() <= {1}
    there.engine_comes(1, 1)
    there.driver.feed(disconnects(BACK, 701))
    assert (there.subscribed, dict(there.view.gone), there.view.missing_unnamed) == (2, {}, 0)


@pytest.mark.parametrize("subscribes", [True, False])
def test_a_stranger_that_reported_as_an_engine_leaves_no_gap_when_it_goes(subscribes: bool) -> None:
    there = Deployment(host="10.0.0.5")
    if subscribes:
        there.driver.feed(connects(BACK, 501, host="10.0.0.5"))
    there.driver.feed(connects(OUTPUT, 500, socket_type="PUSH", host="10.0.0.5"))
    there.driver.feed(PeerIdentified(500, 0))
    there.driver.feed(disconnects(OUTPUT, 500))
    if subscribes:
        there.driver.feed(disconnects(BACK, 501))
    assert (there.subscribed, dict(there.view.gone), there.view.missing_unnamed) == (2, {}, 0)
    there.engine_goes(0)
    assert (there.subscribed, list(there.view.gone)) == (1, [0])


def test_a_process_that_connects_twice_over_ipc_has_two_subscriptions() -> None:
    driver = Driver(3)
    for number in (1, 2):
        driver.feed(connects(OUTPUT, number, socket_type="PUSH", pid=77))
        driver.feed(connects(BACK, 1000 + number, pid=77))
        driver.feed(PeerIdentified(number, 0))
    assert driver.core.engines_subscribed == 5


def test_ranks_beyond_the_last_one_join_and_hide_no_loss() -> None:
    there = Deployment(count=2, host="10.0.0.5")
    for rank in (2, 3):
        there.engine_comes(rank)
    assert (there.view.surplus, there.view.missing) == (0, 0), "they join"
    there.engine_goes(0)
    assert (there.view.surplus, there.view.missing, list(there.view.gone)) == (0, 1, [0])


def test_a_rank_beyond_the_last_one_that_reports_and_does_not_subscribe_is_none_of_those_that_do() -> None:
    there = Deployment(count=2)
    there.driver.feed(connects(OUTPUT, 90, socket_type="PUSH", host="10.0.0.9"))
    there.driver.feed(PeerIdentified(90, 2))
    assert (there.view.surplus, there.view.missing) == (0, 0)


def test_nor_does_it_keep_one_that_came_again_from_being_back() -> None:
    there = Deployment(count=3)
    there.driver.feed(connects(OUTPUT, 90, socket_type="PUSH", host="10.0.0.9"))
    there.driver.feed(PeerIdentified(90, 3))
    there.engine_goes(1)
    assert there.view.missing == 1
    there.engine_comes(1, 1, reports=False)
    assert there.view.missing == 0


WHAT_THEY_ARE = [
    (connects(OUTPUT, 1, socket_type="PUSH", pid=70), PeerKind.ENGINE, 0),
    (connects(BACK, 2, pid=70), PeerKind.ENGINE, 0),
    (connects(Channel.FRONT_PUBLISH, 3, pid=70), PeerKind.FRONT_END, None),
    (connects(OUTPUT, 4, socket_type="PUSH", pid=71), PeerKind.UNKNOWN, None),
    (connects(BACK, 5, pid=71), PeerKind.ENGINE, None),
    (connects(OUTPUT, 6, socket_type="PUSH", pid=72, engine_index=1), PeerKind.ENGINE, 1),
    (connects(BACK, 7, socket_type="SUB", pid=72), PeerKind.ENGINE, 1),
    (connects(OUTPUT, 11, socket_type="PUSH", pid=75), PeerKind.UNKNOWN, None),
    (connects(BACK, 12, socket_type="SUB", pid=75), PeerKind.ENGINE, None),
    (connects(BACK, 8, socket_type="SUB", pid=73), PeerKind.TAP, None),
    (connects(Channel.FRONT_PUBLISH, 9, socket_type="SUB", pid=74), PeerKind.TAP, None),
    (connects(BACK, 10, host="10.0.0.9"), PeerKind.ENGINE, None),
]
"""A connection, what it is told to be, and whose."""


def test_each_connection_is_told_to_be_what_it_is() -> None:
    driver = Driver(2, ready=False)
    for event, _, _ in WHAT_THEY_ARE:
        driver.feed(event)
    driver.feed(PeerIdentified(1, 0))
    told = driver.core.snapshot(0.0).peers.connections
    assert [(c.peer, kind, engine) for c, kind, engine in told] == [(e.peer, *what) for e, *what in WHAT_THEY_ARE]
    for event, kind, _ in WHAT_THEY_ARE:
        assert kind_of(driver.core.state.peers, event.peer) is kind


def test_whose_process_still_listens_has_not_gone() -> None:
    there = Deployment(3, ipc=True)
    there.driver.feed(disconnects(OUTPUT, there.number(1, 0)))
    there.engine_goes(2)
    assert list(there.view.gone) == [2]


def test_the_subscription_of_one_that_is_named_is_none_of_those_that_nobody_can_name() -> None:
    there = Deployment(3)
    there.engine_goes(1)
    there.driver.feed(disconnects(BACK, 1000 + there.number(2, 0)))
    assert (list(there.view.gone), there.view.missing_unnamed) == ([1], 1)
    assert [ended.peer.host for ended in there.view.unnamed] == ["10.0.0.2"]


def test_after_a_restart_only_front_ends_are_told_of_the_wave_when_they_come() -> None:
    driver = Driver()
    driver.restart()
    assert announced(driver.feed(connects(OUTPUT, 70, socket_type="PUSH"))) == []
    assert announced(driver.feed(connects(Channel.FRONT_PUBLISH, 71))) == [(0, False)]


def test_where_more_come_than_went_none_is_missing() -> None:
    there = Deployment()
    there.engine_goes(1)
    for process in (1, 2):
        there.engine_comes(1, process, reports=False)
    assert (there.subscribed, there.view.missing) == (3, 0)


def test_where_more_are_left_than_there_should_be_none_is_missing() -> None:
    there = Deployment()
    for process in (1, 2):
        there.engine_comes(0, process, reports=False)
    there.engine_goes(1)
    assert (there.subscribed, there.view.missing) == (3, 0)


def test_a_subscription_of_a_process_that_reports_as_two_engines_is_of_neither() -> None:
    driver = Driver(2, ready=False)
    driver.feed(connects(BACK, 3, pid=77))
    for rank in (0, 1):
        driver.feed(connects(OUTPUT, 1 + rank, socket_type="PUSH", pid=77))
        driver.feed(PeerIdentified(1 + rank, rank))
    assert [engine for c, _, engine in driver.core.snapshot(0.0).peers.connections if c.peer.id == 3] == [None]


def test_engines_that_come_in_one_go_bring_ready_and_the_scale_that_waited_for_them() -> None:
    driver = Driver(2, ready=False)
    driver.feed(EngineCountChanged(3))
    for number in (2, 3, 4):
        driver.feed(connects(BACK, number, socket_type="SUB", pid=77))
    assert not driver.core.ready
    effects = driver.feed(connects(OUTPUT, 1, socket_type="PUSH", pid=77), at=1.0)
    assert records(effects) == ["ready_sent", "engine_count_changed"]
    assert driver.core.engine_count == 3
    driver.advance(0.2)
    assert len(driver.loads()[-1].counts) == 3


def test_a_subscription_that_is_made_again_is_of_the_same_process_where_its_reports_go_on() -> None:
    driver = Driver(2, ready=False)
    for rank in (0, 1):
        driver.feed(connects(OUTPUT, 1 + rank, socket_type="PUSH", host=f"10.0.0.{rank}"))
        driver.feed(connects(BACK, 1001 + rank, host=f"10.0.0.{rank}", engine_index=rank))
        driver.feed(PeerIdentified(1 + rank, rank))
    driver.report(1, 2, 3)
    driver.feed(disconnects(BACK, 1002))
    assert "engine_replaced" not in records(driver.feed(connects(BACK, 2002, host="10.0.0.1", engine_index=1)))
    assert driver.core.snapshot(0.0).engines.running == (None, 3)


def test_a_rank_is_one_that_leaves_if_it_was_there_when_it_was_told_to() -> None:
    scaled = Scaled(before=4, at=5.0)
    assert [scaled.leaves(3, 5.0), scaled.leaves(3, 5.1), scaled.leaves(4, 1.0)] == [True, False, False]
    assert scaled.leaves(0, 5.0)
    assert not scaled.leaves(-1, 5.0)


def test_of_engines_that_nobody_can_name_it_is_told_where_they_were() -> None:
    driver = Driver(2, ready=False)
    for number in (1, 2):
        driver.feed(connects(BACK, number, host=f"10.0.1.{number}"))

    def unnamed() -> list[str]:
        view = driver.core.snapshot(driver.now).peers
        return [f"{view.missing_unnamed}: {ended.peer.host} {ended.why}" for ended in view.unnamed]

    for number in (2, 1):
        driver.feed(disconnects(BACK, number, "timed out"))
    assert unnamed() == ["2: 10.0.1.2 timed out", "2: 10.0.1.1 timed out"]
    driver.feed(connects(BACK, 3, host="10.0.1.1"))
    assert unnamed() == ["1: 10.0.1.2 timed out"]
    driver.feed(disconnects(BACK, 3))
    driver.feed(connects(BACK, 4, host="10.0.1.9"))
    assert unnamed() == []  # two have ended, and one is missing
    driver.feed(connects(BACK, 5, host="10.0.1.9"))
    driver.feed(disconnects(BACK, 5))
    assert unnamed() == ["1: 10.0.1.9 connection closed"]


def test_of_one_that_was_removed_after_it_had_gone_nothing_is_told_any_more() -> None:
    driver = Driver(3, ready=False)
    for number in (1, 2, 3):
        driver.feed(connects(BACK, number, host=f"10.0.1.{number}"))
    driver.feed(disconnects(BACK, 3))
    driver.feed(EngineCountChanged(2))
    driver.feed(disconnects(BACK, 2))
    assert [ended.peer.host for ended in driver.core.snapshot(0.0).peers.unnamed] == ["10.0.1.2"]
