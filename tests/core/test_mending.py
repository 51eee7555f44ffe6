"""A connection that was made again: what was on its way on the lost one, START or what asks for it, is made good."""

from __future__ import annotations

from typing import Any

import pytest

from dp_coordinator.core.events import (
    WaveCompleted,
)
from dp_coordinator.words import Channel
from tests.core.connections import connects, disconnects
from tests.core.deployment import BACK, OUTPUT, Deployment
from tests.core.driver import starts


@pytest.mark.parametrize(
    ("channel", "dialect"),
    [
        (channel, dialect)
        for channel in Channel
        for dialect in ("0.18", "0.29", "0.33")
        if (channel, dialect) != (Channel.FRONT_PUBLISH, "0.33")
    ],
)
def test_a_connection_that_is_made_again_brings_start_now_and_after_the_wave(channel: Channel, dialect: str) -> None:
    there = Deployment(dialect=dialect)
    driver, again = there.driver, {Channel.FRONT_PUBLISH: 60, OUTPUT: 1, BACK: 1001}[channel]
    driver.feed(connects(Channel.FRONT_PUBLISH, 60, host="10.0.0.0"))
    assert starts(driver.feed(disconnects(channel, again))) == []
    driver.advance_to(7.0)
    assert starts(driver.feed(connects(channel, again + 5000, host="10.0.0.0"))) == [(0, None)]
    assert driver.core.snapshot(7.0).waves[-1].asked_at == 7.0
    assert starts(driver.feed(WaveCompleted(0, 0))) == [(1, None)]
    assert starts(driver.feed(WaveCompleted(0, 1))) == []


def test_from_0_33_on_a_front_end_has_nothing_to_lose() -> None:
    driver = Deployment(dialect="0.33").driver
    driver.feed(connects(Channel.FRONT_PUBLISH, 60))
    driver.feed(disconnects(Channel.FRONT_PUBLISH, 60))
    assert starts(driver.feed(connects(Channel.FRONT_PUBLISH, 61))) == []


def test_before_0_18_it_does_not() -> None:
    there = Deployment(dialect="0.16")
    there.engine_goes(1)
    there.engine_comes(1, 1)
    assert starts(there.effects) == []


def test_while_engines_are_missing_none_is_started() -> None:
    there = Deployment(3)
    for rank in (0, 1):
        there.engine_goes(rank)
    there.engine_comes(0, 1)
    assert starts(there.effects) == []
    there.engine_comes(1, 1)
    assert starts(there.effects) == [(0, None)]


def test_a_link_that_ends_while_the_engine_has_a_newer_one_was_no_probes() -> None:
    there = Deployment()
    there.engine_comes(1, 1, reports=False)
    assert starts(there.driver.feed(disconnects(BACK, 1000 + there.number(1, 0)))) == [(0, None)], "for the newer one"
    assert starts(there.driver.feed(connects(BACK, 5000, host="10.0.0.1"))) == [(0, None)]


def test_of_a_rank_that_joins_a_connection_that_is_made_again_starts_nothing() -> None:
    there = Deployment(ipc=True)
    there.engine_comes(2, titled=True)
    assert starts(there.driver.feed(disconnects(BACK, 1000 + there.number(2, 0)))) == []
    assert starts(there.driver.feed(connects(BACK, 5000, pid=there.number(2, 0), engine_index=2))) == []


def test_a_probe_that_connects_and_leaves_starts_nothing() -> None:
    there = Deployment()
    for number in range(600, 605):
        assert starts(there.driver.feed(connects(OUTPUT, number, socket_type="", host="10.0.9.9"))) == []
        assert starts(there.driver.feed(disconnects(OUTPUT, number))) == []


@pytest.mark.parametrize("ipc", [True, False], ids=["ipc", "tcp"])
def test_one_that_subscribes_and_leaves_again_and_again_starts_nothing(ipc: bool) -> None:
    there = Deployment(ipc=ipc, host="10.0.0.5")
    for number in range(2600, 2605):
        where: dict[str, Any] = {"pid": 77} if ipc else {"host": "10.0.0.5"}
        assert starts(there.driver.feed(connects(BACK, number, **where))) == []
        assert starts(there.driver.feed(disconnects(BACK, number))) == []
    for number in (3600, 3601):  # every engine's link to back_output is known
        there.driver.feed(connects(OUTPUT, number, host="10.0.0.5"))
    for number in (3600, 3601):
        assert starts(there.driver.feed(disconnects(OUTPUT, number))) == []
    there.engine_goes(1)
    there.engine_comes(1, 1)
    assert starts(there.effects) == [(0, None)]
