"""Who is gone, too many, never heard of, or one of several with an index: in words, and at the edges of the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.alarms.presence import engine_gone, engine_surplus, front_end_gone, never_heard, same_index
from dp_coordinator.core.events import Peer
from dp_coordinator.core.snapshot import EndedConnection, Snapshot
from dp_coordinator.words import AlarmKind, Channel, Severity
from tests.alarms.looks import Looks, kinds, running, snapshot


def ended(number: int, at: float = 30.0) -> EndedConnection:
    return EndedConnection(Peer(number, Channel.BACK_PUBLISH, "h", f"h:{number}"), 0.0, at, "timed out")


def there(count: int = 8, **peers: Any) -> Snapshot:
    seen = snapshot(*[(0, 0)] * count, ready=True)
    return replace(seen, peers=replace(seen.peers, **peers))


@pytest.mark.parametrize(
    ("gone", "unnamed", "title"),
    [
        ((1,), (), "Engine gone: rank 1, h:1 timed out"),
        (
            (),
            (7, 8),
            "Engines gone: 6 of 8 are subscribed; vLLM does not tell which rank (h:7 timed out; h:8 timed out)",
        ),
        ((5, 1, 2), (), "Engines gone: rank 5, h:5 timed out; rank 1, h:1 timed out; rank 2, h:2 timed out"),
        (
            (1, 2, 3, 4, 5),
            (),
            "Engines gone: rank 1, h:1 timed out; rank 2, h:2 timed out; rank 3, h:3 timed out; 2 more",
        ),
        ((1,), (6,), "Engines gone: rank 1, h:1 timed out; 1 that cannot be named (h:6 timed out)"),
        ((), (6,), "Engine gone: 7 of 8 are subscribed; vLLM does not tell which rank (h:6 timed out)"),
    ],
)
def test_engines_that_are_gone_are_named_in_the_order_in_which_they_went(
    gone: tuple[int, ...], unnamed: tuple[int, ...], title: str
) -> None:
    ends = {rank: ended(rank, 30.0 + turn) for turn, rank in enumerate(gone)}
    seen = there(gone=ends, missing_unnamed=len(unnamed), unnamed=tuple(ended(number, 29.0) for number in unnamed))
    alarm = engine_gone(seen, 100.0)
    assert alarm is not None
    assert alarm.title == title
    assert (alarm.severity, alarm.engines, alarm.since) == (Severity.CRITICAL, gone, 29.0 if unnamed else 30.0)
    assert alarm.counts == {"subscribed": 8 - len(gone) - len(unnamed), "expected": 8}


def test_engines_too_many_are_counted() -> None:
    title = "More engines than expected: 10 are subscribed, 8 are expected"
    counts = {"subscribed": 10, "expected": 8}
    expected = Alarm(AlarmKind.ENGINE_SURPLUS, Severity.WARNING, 100.0, title, (), counts)
    assert (engine_surplus(there(surplus=2), 100.0), engine_surplus(there(), 100.0)) == (expected, None)


@pytest.mark.parametrize(
    ("rivals", "title"),
    [
        ({2: (1, 2)}, "Two engines with one index: rank 2, h:1 and h:2"),
        ({2: (1, 2, 3)}, "Several engines with one index: rank 2, h:1, h:2 and h:3"),
        ({2: (1, 2, 3, 4, 5)}, "Several engines with one index: rank 2, h:1, h:2, h:3 and 2 more"),
        ({2: (3, 4), 1: (5, 6)}, "Two engines with one index: rank 1, h:5 and h:6; rank 2, h:3 and h:4"),
    ],
)
def test_those_that_share_an_index_are_all_told(rivals: dict[int, tuple[int, ...]], title: str) -> None:
    peers = {rank: tuple(ended(number).peer for number in those) for rank, those in rivals.items()}
    alarm = same_index(there(rivals=peers), 100.0)
    assert alarm == Alarm(AlarmKind.SAME_INDEX, Severity.CRITICAL, 100.0, title, tuple(sorted(rivals)))
    assert same_index(there(), 100.0) is None


@pytest.mark.parametrize(
    ("silent", "title"),
    [((1,), "Rank 1 was never heard of, while all others work"), ((1, 2), "Ranks 1 and 2 were never heard of")],
)
def test_words_for_one_rank_and_for_several_that_were_never_heard_of(silent: tuple[int, ...], title: str) -> None:
    columns = {"reported_at": tuple(None if rank in silent else 100.0 for rank in range(4))}
    alarm = never_heard(snapshot(*[(0, 9)] * 4, columns=columns, ready=True), [9] * 4, 200.0)
    assert alarm is not None
    assert alarm.title.startswith(title)
    counts = {"requests": 9 * (4 - len(silent))}
    assert alarm == Alarm(AlarmKind.NEVER_HEARD, Severity.WARNING, 200.0, alarm.title, silent, counts)


@pytest.mark.parametrize(
    ("loads", "watched", "told"), [([9, 0, 1], False, True), ([9, 0, 0], False, False), ([9, 0, 9], True, False)]
)
def test_a_rank_is_missed_only_where_it_would_report_and_all_others_have_requests(
    loads: list[int], watched: bool, told: bool
) -> None:
    seen = snapshot(*[(0, load) for load in loads], columns={"reported_at": (100.0, None, 100.0)}, watched=watched)
    assert (never_heard(seen, loads, 200.0) is not None) is told


def test_one_index_is_shared_for_as_long_as_an_engine_may_be_missing_before_it_is_said() -> None:
    seen = there(rivals={0: (Peer(1, Channel.BACK_OUTPUT, "h", "h:1"), Peer(2, Channel.BACK_OUTPUT, "h", "h:2"))})
    looks = Looks(seen)
    assert looks.until(seen, 101.0) == []
    assert kinds(looks.until(seen, 102.0)) == ["same_index"]


def test_a_rank_that_is_gone_does_not_work() -> None:
    seen = running((0, 9), (0, 0), (0, 9), (0, 9), columns={"reported_at": (100.0, None, 100.0, 100.0)})
    assert "never_heard" in kinds(Looks(seen).until(seen, 140.0))
    peer = Peer(1, Channel.BACK_PUBLISH, "10.0.0.7", "10.0.0.7:1")
    ended = {0: EndedConnection(peer, 0.0, 30.0, "timed out")}
    seen = replace(seen, engines_subscribed=3, peers=replace(seen.peers, gone=ended))
    assert "never_heard" not in kinds(Looks(seen).until(seen, 140.0))


@pytest.mark.parametrize(
    ("have", "left", "since", "severity", "title"),
    [
        (2, (), 100.0, Severity.WARNING, "Front-ends gone: 2 of 3 are subscribed"),
        (
            1,
            (7, 8, 9),
            31.0,
            Severity.WARNING,
            "Front-ends gone: 1 of 3 are subscribed; the last to go: h:8 timed out; h:9 timed out",
        ),
        (
            0,
            (9,),
            30.0,
            Severity.CRITICAL,
            "Front-ends gone: 0 of 3 are subscribed; the last to go: h:9 timed out",
        ),
    ],
)
def test_of_front_ends_that_are_gone_the_last_ones_are_told(
    have: int, left: tuple[int, ...], since: float, severity: Severity, title: str
) -> None:
    ends = tuple(ended(number, 30.0 + turn) for turn, number in enumerate(left))
    seen = replace(there(front_ends_left=ends), front_ends=have)
    counts = {"subscribed": have, "before": 3}
    assert front_end_gone(seen, 3, 100.0) == Alarm(AlarmKind.FRONT_END_GONE, severity, since, title, (), counts)
    assert front_end_gone(seen, have, 100.0) is None
