"""How long somebody waits who fails again and again."""

from __future__ import annotations

import pytest

from dp_coordinator.limits import Backoff


@pytest.mark.parametrize(
    ("failures", "at", "waits"),
    [
        ([], 0.0, 0.0),
        ([0.0], 0.0, 1.0),
        ([0.0, 0.0], 0.0, 2.0),
        ([0.0, 1.0, 2.0], 2.0, 4.0),
        ([0.0] * 9, 0.0, 5.0),  # no longer than that
        ([0.0, 0.0], 9.9, 2.0),
        ([0.0, 0.0], 10.0, 0.0),  # forgotten
        ([0.0, 0.0, 10.0], 10.0, 1.0),  # and from the beginning
    ],
)
def test_it_waits_twice_as_long_each_time_until_that_is_forgotten(
    failures: list[float], at: float, waits: float
) -> None:
    backoff = Backoff(first=1.0, most=5.0, forget=10.0)
    for when in failures:
        backoff.failed("they", when)
    assert backoff.wait("they", at) == waits
    assert backoff.wait("others", at) == 0.0


def test_a_crowd_takes_no_memory_without_bound() -> None:
    backoff = Backoff(first=1.0, most=5.0, forget=10.0)
    backoff.failed("first", 0.0)
    backoff.failed("again", 0.0)
    backoff.failed("first", 0.0)
    for number in range(Backoff.KEYS - 1):
        backoff.failed(str(number), 0.0)
    assert (backoff.wait("again", 0.0), backoff.wait("first", 0.0)) == (0.0, 2.0), "who failed longest ago is forgotten"
