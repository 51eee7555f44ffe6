"""Which messages go out as alarms come and go, and across the end of the process that tells."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.web.telling.ledger import ON_ITS_WAY_S, RANKS_NAMED, WAITING_AT_MOST, Kept, Ledger
from dp_coordinator.words import AlarmKind, Severity

WALL = 1_000_000.0
GONE, SILENT = AlarmKind.ENGINE_GONE, AlarmKind.RANK_SILENT


def alarm(kind: AlarmKind = GONE, **more: Any) -> Alarm:
    told: dict[str, Any] = {"since": 7.0, "title": f"{kind} of rank 3", "engines": (3,)}
    return Alarm(kind, Severity.CRITICAL, **(told | more))


def looked(ledger: Ledger, *alarms: Alarm, now: float = 10.0, found: bool = True) -> list[tuple[str, str]]:
    """What is to be told after a look, all of which is then taken."""
    ledger.look({each.kind: each for each in alarms}, now, lambda at: WALL + at, lambda kind: found)
    told: list[tuple[str, str]] = [(due.what, due.incident.kind.value) for due in ledger.waiting]
    ledger.waiting.clear()
    return told


def again(ledger: Ledger, now: float = WALL + 60) -> Ledger:
    """The ledger of the next process."""
    return Ledger(msgspec.json.decode(msgspec.json.encode(ledger.kept()), type=Kept), now)


def test_one_message_when_it_is_raised_and_one_when_it_clears() -> None:
    ledger = Ledger()
    assert looked(ledger, alarm()) == [("raised", "engine_gone")]
    assert looked(ledger, alarm(title="another rank, too", engines=(3, 4))) == []
    assert looked(ledger, alarm(), alarm(SILENT)) == [("raised", "rank_silent")]
    assert looked(ledger, alarm(SILENT)) == [("cleared", "engine_gone")]
    assert looked(ledger, alarm(SILENT), alarm()) == [("raised", "engine_gone")]


def test_both_are_of_one_incident_and_the_next_is_another() -> None:
    ledger, seen = Ledger(), []
    for alarms in ([alarm()], [], [alarm()]):
        ledger.look({each.kind: each for each in alarms}, 10.0, lambda at: WALL + at, lambda kind: True)
    for due in ledger.waiting:
        seen.append(due.incident.id)
        assert (due.incident.since, due.incident.raised_at) == (WALL + 7, WALL + 10)
    assert seen[0] == seen[1] != seen[2]


def test_nobody_is_told_that_telling_fails() -> None:
    assert looked(Ledger(), alarm(AlarmKind.WEBHOOK_FAILING)) == []


def test_of_a_thousand_ranks_the_first_are_named() -> None:
    ledger = Ledger()
    ledger.look({GONE: alarm(engines=tuple(range(1024)))}, 10.0, lambda at: at, lambda kind: True)
    [due] = ledger.waiting
    assert due.incident.engines == list(range(RANKS_NAMED))
    assert due.incident.more_engines == 1024 - RANKS_NAMED


def test_the_next_process_raises_nothing_anew_and_clears_what_is_over() -> None:
    first = Ledger()
    looked(first, alarm(), alarm(SILENT))
    second = again(first)
    assert looked(second, found=False) == []  # neither could have been found yet
    assert looked(second, alarm(), found=False) == []
    third = again(second)
    assert looked(third, alarm(), found=False) == []
    assert looked(third, alarm(), found=True) == [("cleared", "rank_silent")]
    assert looked(third, found=False) == [("cleared", "engine_gone")]  # it was seen again, and is seen to be over


def test_what_was_not_taken_is_told_by_the_next_process() -> None:
    first = Ledger()
    first.look({GONE: alarm()}, 10.0, lambda at: at, lambda kind: True)
    second = again(first)
    assert looked(second, alarm()) == [("raised", "engine_gone")]


@pytest.mark.parametrize(("later", "told"), [(0.1, 0), (ON_ITS_WAY_S - 0.1, 0), (ON_ITS_WAY_S, 1), (-5.0, 1)])
def test_what_had_just_been_posted_counts_as_taken(later: float, told: int) -> None:
    first = Ledger()
    first.look({GONE: alarm()}, 10.0, lambda at: WALL + at, lambda kind: True)
    first.posted_at = WALL + 10
    assert len(again(first, WALL + 10 + later).waiting) == told


def test_too_many_that_wait_make_room() -> None:
    ledger = Ledger()
    for _ in range(WAITING_AT_MOST):
        for alarms in ({GONE: alarm()}, {}):
            ledger.look(alarms, 10.0, lambda at: at, lambda kind: True)
    assert len(ledger.waiting) == WAITING_AT_MOST
    assert ledger.given_up == WAITING_AT_MOST
    assert ledger.waiting[-1].what == "cleared"
