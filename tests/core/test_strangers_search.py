"""Every moment at which a stray peer can send one message, and every way to begin anew beside engines that live.

The exhaustive search of test_recovery_search.py with those in it (strangers_world.py). The window is small enough for
the waves of so small a deployment; test_recovery_search.py has every crash and every dropped connection with that, too.

`DEEP_SEARCH=1` adds larger deployments, and crashes with reports in them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from dp_coordinator.core import witnesses
from tests.core.recovery_search import Search
from tests.core.recovery_states import World
from tests.core.strangers_world import FAR, StrangersRules

pytestmark = pytest.mark.usefixtures("untraced")
LIVING = ["0.18", "0.29", "0.33"]
"""Before 0.18 one that begins anew kills the engines with a second READY, whatever its window is."""
MAY_STRAND = {
    "0.16": {"start_wave", "wave_complete", "notice"},
    "0.29": {"start_wave", "wave_complete", "notice"},
    "0.33": {"start_wave", "wave_complete"},
}
"""What one message of a stray peer can do at most: a request waits for another one, or for an operator. Also told in
docs/protocol.md."""
deep = pytest.mark.skipif("DEEP_SEARCH" not in os.environ, reason="takes minutes and gigabytes: set DEEP_SEARCH=1")


@pytest.fixture(autouse=True)
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "WINDOW", 1)


def freed(rules: StrangersRules, stranded: Sequence[World]) -> bool:
    """Whether an operator who sets the wave frees all: again, where another request has been stranded since.

    Engines' waves may have drifted apart by one, and no START can bring them together while one is in its step.
    """
    rules.stray, rules.prompt = False, True
    for _ in range(3):
        stranded = Search(rules, *map(rules.corrected, stranded), to_the_end=True).stranded
        if not stranded:
            return True
    return False


def after_one_stray_message(dialect: str, **size: Any) -> set[str]:
    """The kinds of message that can strand a request, once all else that must hold was seen to."""
    rules = StrangersRules(dialect, deaths=0, stray=True, **size)
    search = Search(rules, to_the_end=True)
    assert search.found is None, search.how()  # no engine was killed
    sent = {world.stray for world in search if world.stray is not None}
    assert {what for what, _, _ in sent} >= MAY_STRAND[dialect] | {"scale", "report"}
    assert rules.jump == witnesses.WINDOW + 1
    assert max(rules.cores.wave(world.core) for world in search) < FAR
    assert all(world.stray is not None for world in search.stranded)
    assert freed(rules, search.stranded)
    return {world.stray[0] for world in search.stranded if world.stray is not None}


@pytest.mark.parametrize(("dialect", "requests"), [("0.16", 2), ("0.29", 1), ("0.33", 2)])
def test_what_one_message_of_a_stray_peer_can_do_is_listed_and_an_operator_ends_it(dialect: str, requests: int) -> None:
    assert after_one_stray_message(dialect, requests=requests) <= MAY_STRAND[dialect]


@deep
def test_the_same_with_more_requests() -> None:
    for dialect, listed in MAY_STRAND.items():
        assert after_one_stray_message(dialect, requests=2) == listed


@pytest.mark.parametrize("dialect", LIVING)
def test_one_that_begins_anew_beside_living_engines_strands_none_that_reports(dialect: str) -> None:
    """Through 0.32 a request is stranded now and then, since the START for its notice is behind; none that waits."""
    rules = StrangersRules(dialect, deaths=0, reports=True, living=4)
    search = Search(rules, rules.first, rules.running(), to_the_end=True)
    assert search.found is None, search.how()
    assert [world for world in search.stranded if rules.cores.waiting(world.core)] == []
    if dialect == "0.33":
        assert search.stranded == []
    assert len(search) > 10_000
    assert freed(rules, search.stranded)


@pytest.mark.parametrize("dialect", LIVING)
def test_what_is_known_to_remain_where_engines_do_not_report(dialect: str) -> None:
    """A lone rank that said something far ahead once waits for a second one, or for an operator."""
    rules = StrangersRules(dialect, deaths=0, living=4)
    search = Search(rules, rules.first, rules.running(), to_the_end=True)
    assert any(rules.cores.waiting(world.core) for world in search.stranded)
    assert freed(rules, search.stranded)


def test_a_window_that_is_smaller_than_what_a_crash_can_lose_strands_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "WINDOW", 0)
    assert Search(StrangersRules("0.33")).found is not None


@deep
@pytest.mark.parametrize("dialect", ["0.16", "0.29", "0.33"])
def test_a_crash_strands_no_request_where_engines_report_either(dialect: str) -> None:
    search = Search(StrangersRules(dialect, reports=True))
    assert search.found is None, search.how()
