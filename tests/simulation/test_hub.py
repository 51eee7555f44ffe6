"""The collective over real TCP connections, all ends on this thread."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import msgspec
import pytest
import zmq

from dp_coordinator.simulation.collective import AllReduceResult, Contribution
from dp_coordinator.simulation.hub import CollectiveHub
from dp_coordinator.simulation.member import CollectiveMember
from dp_coordinator.simulation.messages import Contributed, Member, Told, decode_told
from dp_coordinator.values import parse_host_port
from dp_coordinator.wire.client import SUBSCRIBE

STEP = Contribution(True, 0, 1)
encode = msgspec.msgpack.encode


class Group:
    """A hub, its members, and the outcomes that each has had."""

    def __init__(self, size: int) -> None:
        self.hub = CollectiveHub("127.0.0.1:0", size)
        self.size = size
        self.address = self.hub.address
        self.members: dict[int, CollectiveMember] = {}
        self.outcomes: dict[int, list[AllReduceResult]] = {rank: [] for rank in range(size)}

    def add(self, rank: int) -> CollectiveMember:
        self.members[rank] = CollectiveMember(self.address, rank, self.size)
        return self.members[rank]

    def turn_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not done():
            assert time.monotonic() < deadline, f"not reached; outcomes so far: {self.outcomes}"
            self.turn()

    def turn(self) -> None:
        self.hub.socket.poll(1)
        self.hub.turn()
        for rank, member in self.members.items():
            self.outcomes[rank] += member.turn()

    def all_welcome(self) -> None:
        self.turn_until(lambda: all(member.welcomed for member in self.members.values()))

    def die(self, rank: int) -> None:
        self.members.pop(rank).close()

    def close(self) -> None:
        for member in self.members.values():
            member.close()
        self.hub.close()


@pytest.fixture
def group() -> Iterator[Group]:
    group = Group(2)
    group.add(0)
    group.add(1)
    group.all_welcome()
    yield group
    group.close()


def test_a_step_takes_all_ranks(group: Group) -> None:
    group.members[0].contribute(STEP)
    for _ in range(5):
        group.turn()
    assert group.outcomes == {0: [], 1: []}
    group.members[1].contribute(Contribution(False, 0, 1))
    group.turn_until(lambda: all(group.outcomes.values()))
    assert group.outcomes == {0: [AllReduceResult(True, 0, 1)], 1: [AllReduceResult(True, 0, 1)]}


def test_a_rank_that_dies_is_left_out_and_hears_the_news_when_it_is_back(group: Group) -> None:
    group.members[0].contribute(STEP)
    group.die(1)
    group.turn_until(lambda: group.outcomes[0] == [AllReduceResult(True, 0, 1)])
    back = group.add(1)
    group.all_welcome()
    assert back.last_before == AllReduceResult(True, 0, 1)
    group.members[0].contribute(Contribution(True, 0, 2))
    group.turn_until(lambda: group.outcomes[1] == [AllReduceResult(True, 0, 2)])


def test_a_new_connection_replaces_the_old_one_of_its_rank(group: Group) -> None:
    old = group.members[1]
    new = group.add(1)
    group.all_welcome()
    group.members[0].contribute(STEP)
    new.contribute(STEP)
    group.turn_until(lambda: bool(group.outcomes[0] and group.outcomes[1]))
    old.close()


def test_a_contribution_survives_a_restart_of_the_hub(group: Group, caplog: pytest.LogCaptureFixture) -> None:
    group.members[0].contribute(Contribution(True, 3, 7))
    group.turn()
    group.hub.close()
    deadline = time.monotonic() + 5
    while not all(f"rank {rank}: lost the collective" in caplog.text for rank in group.members):
        assert time.monotonic() < deadline
        assert [member.turn() for member in group.members.values()] == [[], []]
    group.die(1)  # and back only after the other has contributed: otherwise that one would wait for it
    group.hub = CollectiveHub(group.address, group.size)
    group.turn_until(lambda: 0 in group.hub._group.contributions)
    group.add(1)
    group.turn_until(lambda: group.outcomes[0] == [AllReduceResult(True, 3, 7)])
    group.turn_until(lambda: group.outcomes[1] == [AllReduceResult(True, 3, 7)])  # idle before, and now told to join


def test_what_is_contributed_while_the_hub_is_gone_reaches_the_next(group: Group) -> None:
    group.hub.close()
    for member in group.members.values():
        member.contribute(Contribution(True, 3, 7))
    group.hub = CollectiveHub(group.address, group.size)
    group.turn_until(lambda: all(group.outcomes.values()))
    assert group.outcomes == {rank: [AllReduceResult(True, 3, 7)] for rank in (0, 1)}


def test_a_contribution_that_comes_twice_counts_once() -> None:
    hub = CollectiveHub("127.0.0.1:0", 1)

    def turn_until_told() -> Told:
        while not rank.poll(1):
            hub.turn()
        return decode_told(rank.recv_multipart()[1])

    with closing(hub), zmq.Context() as context, context.socket(zmq.XSUB) as rank:
        rank.connect(f"tcp://{hub.address}")
        rank.send(SUBSCRIBE + encode(Member(0, 1)))
        assert turn_until_told() == Told(None, None)
        for number, step in ((1, 1), (1, 1), (2, 2)):
            rank.send(encode(Contributed(Member(0, 1), number, Contribution(True, 0, step))))
        assert turn_until_told() == Told(1, AllReduceResult(True, 0, 1))
        assert turn_until_told() == Told(2, AllReduceResult(True, 0, 2))


def test_members_wait_for_a_hub_that_is_not_there_yet(group: Group) -> None:
    address = group.address
    group.close()
    group.members = {}
    group.add(0)
    group.add(1)
    for member in group.members.values():
        assert member.turn() == []
        assert not member.welcomed
    group.hub = CollectiveHub(address, 2)
    group.all_welcome()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (SUBSCRIBE + encode(Member(9, 2)), "rank 9 of 2 does not belong to this group of 2"),
        (SUBSCRIBE + encode(Member(0, 3)), "rank 0 of 3 does not belong to this group of 2"),
        (SUBSCRIBE, "Input data was truncated"),
        (encode(Contributed(Member(2, 2), 1, STEP)), "rank 2 of 2 does not belong to this group of 2"),
        (encode("GET / HTTP/1.1"), "Expected `array`, got `str`"),
    ],
)
def test_strangers_are_not_welcome_and_change_nothing(
    group: Group, caplog: pytest.LogCaptureFixture, said: bytes, why: str
) -> None:
    with zmq.Context() as context, context.socket(zmq.XSUB) as stranger:
        stranger.connect(f"tcp://{group.address}")
        stranger.send(said)
        group.turn_until(lambda: why in caplog.text)
        assert "collective: dropped a message" in caplog.text
        assert not stranger.poll(0)
        group.members[0].contribute(STEP)
        group.members[1].contribute(STEP)
        group.turn_until(lambda: all(group.outcomes.values()))
    assert group.outcomes == {rank: [AllReduceResult(True, 0, 1)] for rank in (0, 1)}


def test_a_contribution_of_a_rank_that_has_not_come_changes_nothing() -> None:
    group = Group(2)
    group.add(0)
    group.all_welcome()
    with zmq.Context() as context, context.socket(zmq.XSUB) as stranger:
        stranger.connect(f"tcp://{group.address}")
        stranger.send(encode(Contributed(Member(1, 2), 1, Contribution(False, 9, 9))))
        stranger.send(SUBSCRIBE + encode(Member(1, 2)))
        group.turn_until(lambda: bool(stranger.poll(0)))
        group.members[0].contribute(STEP)
        stranger.send(encode(Contributed(Member(1, 2), 1, STEP)))
        group.turn_until(lambda: bool(group.outcomes[0]))
    assert group.outcomes[0] == [AllReduceResult(True, 0, 1)]
    group.close()


def test_what_does_not_speak_zeromq_changes_nothing(group: Group) -> None:
    with socket.create_connection(parse_host_port(group.address)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        group.members[0].contribute(STEP)
        group.members[1].contribute(STEP)
        group.turn_until(lambda: all(group.outcomes.values()))


@pytest.mark.parametrize("address", ["localhost", ":1", "h:", "h:x", "h:70000", "h:²"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_host_port(address)


def test_ipv6_addresses() -> None:
    assert parse_host_port("[::1]:5600") == ("::1", 5600)
