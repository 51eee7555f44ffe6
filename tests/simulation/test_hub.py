"""The collective over real TCP connections, all ends on this thread."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from dp_coordinator.simulation.collective import AllReduceResult, Contribution
from dp_coordinator.simulation.hub import CollectiveHub
from dp_coordinator.simulation.member import CollectiveMember
from dp_coordinator.values import parse_host_port

STEP = Contribution(True, 0, 1)


class Group:
    """A hub, its members, and the outcomes that each has had."""

    def __init__(self, size: int) -> None:
        self.hub = CollectiveHub("127.0.0.1:0", size)
        self.size = size
        self.address = self.hub.address
        self.members: dict[int, CollectiveMember] = {}
        self.outcomes: dict[int, list[AllReduceResult]] = {rank: [] for rank in range(size)}
        self.now = 0.0
        """The members' clock: each turn of the group is a second, so that no retry has to be waited for."""

    def add(self, rank: int) -> CollectiveMember:
        self.members[rank] = CollectiveMember(self.address, rank, self.size, clock=lambda: self.now)
        return self.members[rank]

    def turn_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not done():
            assert time.monotonic() < deadline, f"not reached; outcomes so far: {self.outcomes}"
            self.turn()

    def turn(self) -> None:
        self.now += 1
        self.hub.turn(0.001)
        for rank, member in self.members.items():
            self.outcomes[rank] += member.turn()

    def all_welcome(self) -> None:
        self.turn_until(lambda: all(member.welcomed for member in self.members.values()))

    def die(self, rank: int) -> None:
        self.members.pop(rank).close()

    def restart_hub(self) -> None:
        self.hub.close()
        self.turn_until_lost()
        self.hub = CollectiveHub(self.address, self.size)

    def turn_until_lost(self) -> None:
        deadline = time.monotonic() + 5
        while any(member.welcomed for member in self.members.values()):
            assert time.monotonic() < deadline
            for member in self.members.values():
                member.turn(0.001)

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


def test_a_contribution_survives_a_restart_of_the_hub(group: Group) -> None:
    group.members[0].contribute(Contribution(True, 3, 7))
    group.turn()
    group.restart_hub()
    group.turn_until(lambda: group.outcomes[0] == [AllReduceResult(True, 3, 7)])
    group.turn_until(lambda: group.outcomes[1] == [AllReduceResult(True, 3, 7)])  # idle before, and now told to join


def test_members_wait_for_a_hub_that_is_not_there_yet(group: Group) -> None:
    address = group.address
    group.close()
    group.members = {}
    group.add(0)
    for _ in range(3):
        group.now += 1
        group.members[0].turn(0.01)
    assert not group.members[0].welcomed
    group.hub = CollectiveHub(address, 2)
    group.all_welcome()


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes([1, 0]) + (9).to_bytes(4) + bytes(8) + (2).to_bytes(8),  # HELLO of a rank that does not exist
        bytes([1, 0]) + (0).to_bytes(4) + bytes(8) + (3).to_bytes(8),  # HELLO of another group
        bytes([2, 1]) + bytes(20),  # a contribution without a HELLO
    ],
)
def test_strangers_are_sent_away_and_change_nothing(group: Group, bytes_sent: bytes) -> None:
    with socket.create_connection(parse_host_port(group.address)) as stranger:
        stranger.sendall(bytes_sent)
        stranger.setblocking(False)
        closed: list[bool] = []

        def is_closed() -> bool:
            try:
                closed.append(stranger.recv(1) == b"")
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True
            return closed[-1]

        group.turn_until(is_closed)
    group.members[0].contribute(STEP)
    group.members[1].contribute(STEP)
    group.turn_until(lambda: all(group.outcomes.values()))


@pytest.mark.parametrize("address", ["localhost", ":1", "h:", "h:x", "h:70000", "h:²"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_host_port(address)


def test_ipv6_addresses() -> None:
    assert parse_host_port("[::1]:5600") == ("::1", 5600)
