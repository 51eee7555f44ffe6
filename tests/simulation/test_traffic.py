"""When requests arrive, and which are overdue."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from dp_coordinator.simulation.options import FrontEndOptions
from dp_coordinator.simulation.outstanding import Outstanding, Sent
from dp_coordinator.simulation.traffic import Size, Traffic

OPTIONS = FrontEndOptions(front_publish_address="ipc:///f", engine_address=("ipc:///e",), epoch=1000.0)
SIZE = Size(10, 2)


def arrivals(traffic: Traffic, count: int) -> list[float]:
    times: list[float] = []
    while len(times) < count:
        times.append(traffic.next_at)
        assert len(traffic.due(traffic.next_at)) == 1
    return times


def test_requests_arrive_in_bursts_only_and_at_their_rate() -> None:
    traffic = Traffic(OPTIONS, now=1000.0)
    times = arrivals(traffic, 2000)
    for time in times:
        start, end = traffic.burst(int((time - 1000.0) // OPTIONS.cycle_s))
        assert start <= time <= end + 0.5  # the first one of a burst may come late
    gaps = [later - earlier for earlier, later in pairwise(times)]
    within = [gap for gap in gaps if gap < 2.0]
    assert 1 / OPTIONS.rate == pytest.approx(sum(within) / len(within), rel=0.15)
    assert len(gaps) - len(within) > 5  # pauses


def test_pauses_are_long_enough_to_be_seen() -> None:
    traffic = Traffic(OPTIONS, now=1000.0)
    for cycle in range(50):
        _, end = traffic.burst(cycle)
        assert traffic.burst(cycle + 1)[0] - end >= 5.0


def test_front_ends_of_one_seed_burst_together_but_do_not_send_together() -> None:
    first = Traffic(OPTIONS, now=1000.0)
    later = Traffic(replace(OPTIONS, index=1), now=1030.0)
    assert [first.burst(cycle) for cycle in range(9)] == [later.burst(cycle) for cycle in range(9)]
    assert first.next_at != Traffic(replace(OPTIONS, index=1), now=1000.0).next_at


def test_the_same_seed_gives_the_same_traffic() -> None:
    one, two = Traffic(OPTIONS, now=1000.0), Traffic(OPTIONS, now=1000.0)
    assert one.due(1003.0) == two.due(1003.0)
    assert arrivals(one, 5) == arrivals(two, 5)


def test_what_was_missed_for_long_is_skipped() -> None:
    traffic = Traffic(OPTIONS, now=1000.0)
    assert len(traffic.due(1003.9)) <= 1
    assert traffic.next_at > 1003.8


def test_sizes_are_in_range() -> None:
    traffic = Traffic(replace(OPTIONS, min_steps=3, max_steps=5), now=1000.0)
    sizes = [size for tenth in range(30) for size in traffic.due(1000.0 + tenth / 10)]
    assert {size.steps for size in sizes} == {3, 4, 5}
    assert all(50 <= size.prompt_tokens <= 400 for size in sizes)


@pytest.mark.parametrize(
    "options",
    [
        replace(OPTIONS, rate=0),
        replace(OPTIONS, burst_min_s=8.0),
        replace(OPTIONS, burst_max_s=13.0),
        replace(OPTIONS, min_steps=0),
        replace(OPTIONS, min_steps=99),
    ],
)
def test_options_that_make_no_sense_are_refused(options: FrontEndOptions) -> None:
    with pytest.raises(ValueError, match="--"):
        Traffic(options, now=0.0)


def test_overdue_requests_come_out_once_and_oldest_first() -> None:
    outstanding = Outstanding(timeout_s=10.0)
    for number in range(3):
        outstanding.add(Sent(number, SIZE, engine=number, at=float(number)))
    assert outstanding.next_overdue_at() == 10.0
    assert [sent.id for sent in outstanding.overdue(11.0)] == [0, 1]
    assert outstanding.overdue(11.0) == []
    assert len(outstanding) == 1
    assert outstanding.next_overdue_at() == 12.0


def test_a_second_answer_counts_for_nothing() -> None:
    outstanding = Outstanding(timeout_s=10.0)
    outstanding.add(Sent(7, SIZE, engine=0, at=0.0))
    assert outstanding.finish(7) is not None
    assert outstanding.finish(7) is None
    assert outstanding.totals.finished == 1


def test_without_a_timeout_nothing_is_overdue() -> None:
    outstanding = Outstanding(timeout_s=0)
    outstanding.add(Sent(7, SIZE, engine=0, at=0.0))
    assert outstanding.overdue(1e9) == []
    assert outstanding.next_overdue_at() is None
