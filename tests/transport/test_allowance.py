"""What a connection may send, and what is too much."""

from __future__ import annotations

import pytest

from dp_coordinator.transport.allowance import (
    BIG,
    BIG_BURST,
    MESSAGES_BURST,
    MESSAGES_RATE,
    TOPICS,
    UNREADABLE_MESSAGE,
    UNREADABLE_OUTPUTS,
    Allowance,
)
from dp_coordinator.words import Channel

FRONT_ENDS, OUTPUTS = Channel.FRONT_PUBLISH, Channel.BACK_OUTPUT


def test_a_front_end_that_sends_a_notice_after_each_publication_never_sends_too_many() -> None:
    allowance = Allowance(FRONT_ENDS, 0.0)
    assert not any(allowance.message(0, tenths / 10) for tenths in range(36_000))


def test_a_flood_of_messages_is_too_much_after_so_many() -> None:
    allowance = Allowance(FRONT_ENDS, 0.0)
    assert not any(allowance.message(0, 0.0) for _ in range(MESSAGES_BURST))
    assert allowance.message(0, 0.0) == f"it sent more than {MESSAGES_RATE} messages a second"
    assert allowance.message(0, 1.5 / MESSAGES_RATE) is None


@pytest.mark.parametrize(("topics", "cut"), [([TOPICS], False), ([TOPICS, 1], True), ([TOPICS + 1], True)])
def test_too_much_topic_is_too_much_however_slowly_it_comes(topics: list[int], cut: bool) -> None:
    allowance = Allowance(FRONT_ENDS, 0.0)
    said = [allowance.message(size, 3600.0 * turn) for turn, size in enumerate(topics)]
    assert (said[-1] is not None) == cut
    assert not any(said[:-1])


@pytest.mark.parametrize(("size", "most"), [(BIG, None), (BIG + 1, BIG_BURST // (BIG + 1))])
def test_engines_may_send_as_many_small_reports_as_they_can(size: int, most: int | None) -> None:
    allowance = Allowance(OUTPUTS, 0.0)
    sent = next((number for number in range(10_000) if allowance.outputs(size, 0.0)), None)
    assert sent == most


@pytest.mark.parametrize(
    ("channel", "most"),
    [(FRONT_ENDS, MESSAGES_BURST // UNREADABLE_MESSAGE), (OUTPUTS, BIG_BURST // UNREADABLE_OUTPUTS)],
)
def test_what_cannot_be_read_costs_more(channel: Channel, most: int) -> None:
    allowance = Allowance(channel, 0.0)
    said = [allowance.unreadable(channel, 0.0) for _ in range(most + 1)]
    assert not any(said[:-1])
    assert said[-1] is not None
    assert said[-1].endswith("frames a second that are no message of the protocol")
