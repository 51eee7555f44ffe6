"""A front-end that sends what is asked for, and says when it is answered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from dp_coordinator.simulation.demand import Demand
from dp_coordinator.simulation.options import FrontEndOptions

if TYPE_CHECKING:
    from tests.simulation.conftest import Deployment, Process

OPTIONS = FrontEndOptions(front_publish_address="ipc:///f", engine_address=("ipc:///e",), rate=10.0)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_what_is_asked_for_arrives_from_then_on(pipe: tuple[int, int]) -> None:
    read, write = pipe
    demand = Demand(OPTIONS, read)
    assert demand.read(1.0)  # nothing yet
    assert demand.due(1e9) == []
    os.write(write, b"200\n1")
    assert demand.read(5.0)
    assert (demand.asked, demand.next_at, demand.unanswered) == (200, 5.0, True)
    times = []
    while demand.next_at < 1e9:
        times.append(demand.next_at)
        assert len(demand.due(demand.next_at)) == 1
    assert len(times) == 200
    assert sum(later - earlier for earlier, later in pairwise(times)) / 199 == pytest.approx(0.1, rel=0.2)
    os.write(write, b"0\n")
    assert demand.read(50.0)
    assert demand.asked == 210  # the two lines were 200 and 10


def test_the_end_and_what_is_no_number(pipe: tuple[int, int]) -> None:
    read, write = pipe
    demand = Demand(OPTIONS, read)
    os.write(write, b"some\n")
    with pytest.raises(ValueError, match="some"):
        demand.read(0.0)
    other_read, other_write = os.pipe()
    os.close(other_write)
    assert not Demand(OPTIONS, other_read).read(0.0)
    os.close(other_read)


def test_a_front_end_tells_its_totals_when_all_are_answered(
    deploy: Callable[[int, str], Deployment], account: Callable[[Process], dict[str, int]]
) -> None:
    front_end = deploy(2, "0.33").front_end(0, on_demand=True)
    assert front_end.stdin is not None
    assert front_end.stdout is not None
    for asked, total in ((3, 3), (2, 5)):
        front_end.stdin.write(f"{asked}\n")
        front_end.stdin.flush()
        assert f'"sent": {total}, "finished": {total}' in front_end.stdout.readline()
    front_end.terminate()
    assert account(front_end) == {"sent": 5, "finished": 5, "resent": 0}
