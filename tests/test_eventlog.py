"""The event log: what is one entry, and who makes room for whom."""

from __future__ import annotations

from typing import Any

import pytest

from dp_coordinator import sentences
from dp_coordinator.eventlog import EVENT_LOG_SIZE, FOLDED_WITHIN_S, RANKS_NAMED, EventLog


def said(log: EventLog) -> list[str]:
    return [sentences.event(entry.kind, entry.fields).text for entry in log.since(0)]


def test_the_start_of_a_thousand_ranks_is_a_line() -> None:
    log = EventLog()
    for rank in range(1024):
        fields = {"subscribed": rank + 1, "of": 1024, "engine": None, "peer": f"pid {rank}"}
        log.append(1.0 + rank / 1000, "engine_subscribed", fields)
    log.append(3.0, "ready_sent", {"engines": 1024})
    for rank in range(1024):
        log.append(4.0 + rank / 1000, "engine_first_report", {"engine": rank})
    assert said(log) == [
        "1024 engines subscribed: 1024 of 1024 now",
        "READY sent to the engines",
        "First report of ranks 0-63 and 960 more",
    ]
    assert [(entry.first_seq, entry.seq) for entry in log.since(0)] == [(1, 1024), (1025, 1025), (1026, 2049)]
    assert len(log.since(0)[-1].fields["engines"]) == RANKS_NAMED  # type: ignore[arg-type]
    assert log.last_seq == 2049


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        ("engine_subscribed", [{"engine": 5, "peer": "pid 1"}], "Rank 5 subscribed (pid 1)"),
        ("engine_subscribed", [{"engine": 5}, {"engine": 3}], "Ranks 3 and 5 subscribed"),
        ("engine_subscribed", [{"engine": 5}, {"engine": None}], "2 engines subscribed"),
        ("front_end_subscribed", [{"front_ends": 1, "peer": "a"}], "A front-end subscribed (a): 1 now"),
        (
            "front_end_subscribed",
            [{"front_ends": 1, "peer": "a"}, {"front_ends": 2, "peer": "b"}],
            "2 front-ends subscribed: 2 now",
        ),
        (
            "bad_frame",
            [{"channel": "back_output", "verdict": "bad", "suppressed": n} for n in (0, 0, 35)],
            "Bad frame on back_output: bad (×38)",  # noqa: RUF001
        ),
    ],
)
def test_repeats_are_one_entry_that_says_of_how_many(kind: str, fields: list[dict[str, Any]], text: str) -> None:
    log = EventLog()
    for each in fields:
        log.append(1.0, kind, each)
    assert said(log) == [text]


def test_a_repeat_that_is_recorded_and_put_in_again_counts_the_same() -> None:
    log, again = EventLog(), EventLog()
    for rank in range(3):
        log.append(1.0, "engine_first_report", {"engine": rank})
        if rank:
            again.clear()
        for entry in log.since(0):
            again.append(entry.at, entry.kind, entry.fields)
    assert said(again) == said(log) == ["First report of ranks 0-2"]


@pytest.mark.parametrize(
    ("kind", "first", "second", "later"),
    [
        ("bad_frame", {"channel": "a"}, {"channel": "b"}, 0.0),
        ("bad_frame", {"channel": "a"}, {"channel": "a"}, FOLDED_WITHIN_S + 0.1),
        ("engine_unsubscribed", {"engine": 3}, {"engine": 4}, 0.0),
        ("engine_unsubscribed", {"engine": 3}, {"engine": 3}, 0.0),
        ("wave_completed", {"wave": 3}, {"wave": 3}, 0.0),
    ],
)
def test_what_says_something_else_is_an_entry_of_its_own(kind: str, first: Any, second: Any, later: float) -> None:
    log = EventLog()
    log.append(1.0, kind, first)
    log.append(1.0 + later, kind, second)
    assert len(log.since(0)) == 2


def test_comings_and_goings_never_push_out_waves_and_alarms() -> None:
    log = EventLog()
    log.append(1.0, "alarm_raised", {"title": "x"})
    for wave in range(500):
        log.append(2.0, "wave_completed", {"wave": wave})
    for rank in range(3 * EVENT_LOG_SIZE):
        log.append(3.0, "engine_unsubscribed", {"engine": rank})
        log.append(3.0, "engine_replaced", {"engine": rank})
        log.append(3.0, "front_end_unsubscribed", {"front_ends": rank})
    kinds = [entry.kind for entry in log.since(0)]
    assert kinds[0] == "alarm_raised"
    assert kinds.count("wave_completed") == 500
    assert len(kinds) == log.held == EVENT_LOG_SIZE
    seqs = [entry.seq for entry in log.since(0)]
    assert seqs == sorted(seqs)
    assert all(map(log.holds, seqs))


def test_a_huge_entry_makes_room_among_its_own_kind_and_stays() -> None:
    log = EventLog(bytes_at_most=10_000)
    log.append(1.0, "alarm_raised", {"title": "x"})
    for number in range(100):
        log.append(1.0, "bad_frame", {"n": number, "text": "y" * 1000})
    assert log.since(0)[0].kind == "alarm_raised"
    assert 2 <= log.held < 10
    log.append(1.0, "bad_frame", {"text": ["z" * 1500] * 10})
    assert log.since(0)[-1].seq == 102
