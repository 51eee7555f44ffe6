"""Every way in which the coordinator can die once, or one connection: no request is stranded, no wave goes back.

An exhaustive search over a small deployment (tests/core/recovery_world.py) with the real core in it, from the first
subscription on. A request is stranded when everything that can happen has happened and some engine still has it: the
engine is in a step, and another one never joins. Periodic load publications are among what can happen.

`DEEP_SEARCH=1` adds larger deployments, which take minutes and gigabytes.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from dp_coordinator.core import witnesses
from tests.core.recovery_cores import Rule
from tests.core.recovery_search import Search
from tests.core.recovery_world import Rules

pytestmark = pytest.mark.usefixtures("untraced")
GENERATIONS = ["0.16", "0.29", "0.33"]
MENDING = ["0.18", "0.29", "0.33"]
"""Before 0.18 an engine that comes again may not be sent READY, nor START without it."""
DEEP: list[tuple[str, dict[str, Any]]] = [
    ("0.33", {"requests": 3}),
    ("0.33", {"deaths": 2}),
    ("0.16", {"requests": 1, "front_ends": 2}),
    ("0.29", {"requests": 1, "front_ends": 2}),
    ("0.33", {"requests": 1, "front_ends": 2}),
]


@pytest.fixture(autouse=True)
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that lost messages put so few waves beyond it, as more lost ones would with the real one."""
    monkeypatch.setattr(witnesses, "WINDOW", 1)


@pytest.mark.parametrize("dialect", GENERATIONS)
def test_a_crash_at_any_moment_strands_no_request(dialect: str) -> None:
    search = Search(Rules(dialect))
    assert search.found is None, search.how()
    assert len(search) > 10_000  # it went everywhere, and did not stop at the start


@pytest.mark.parametrize("dialect", MENDING)
def test_a_connection_dropped_and_made_again_at_any_moment_strands_no_request(dialect: str) -> None:
    search = Search(Rules(dialect, deaths=0, drops=1))
    assert search.found is None, search.how()
    assert len(search) > 100_000


def test_a_crash_and_a_dropped_connection_together_strand_no_lone_request() -> None:
    """With another request it may be the known case below: both messages lost, one of them by each."""
    search = Search(Rules("0.33", drops=1, requests=1))
    assert search.found is None, search.how()
    assert len(search) > 100_000


@pytest.mark.skipif("DEEP_SEARCH" not in os.environ, reason="takes minutes and gigabytes: set DEEP_SEARCH=1")
@pytest.mark.parametrize(("dialect", "size"), DEEP)
def test_the_same_in_larger_deployments(dialect: str, size: dict[str, Any]) -> None:
    search = Search(Rules(dialect, **size))
    assert search.found is None, search.how()


@pytest.mark.parametrize("dialect", GENERATIONS)
def test_without_a_crash_nothing_is_stranded_either(dialect: str) -> None:
    for early in (False, True):
        search = Search(Rules(dialect, deaths=0, early=early))
        assert search.found is None, search.how()


def test_requests_before_ready_get_no_engine_killed_either() -> None:
    """Before 0.18 a second READY kills, and messages that were held must not let one out."""
    search = Search(Rules("0.16", early=True, requests=1), only_kills=True)
    assert search.found is None, search.how()
    assert len(search) > 1_000


@pytest.mark.parametrize("dialect", GENERATIONS)
@pytest.mark.parametrize("rule", [Rule.NOTHING, Rule.ONE_START, Rule.RAISED, Rule.JOURNAL_LAST])
def test_other_rules_strand_a_request(dialect: str, rule: Rule) -> None:
    assert Search(Rules(dialect, rule=rule)).found is not None


@pytest.mark.parametrize("dialect", MENDING)
@pytest.mark.parametrize("rule", [Rule.NOTHING, Rule.ONE_START])
def test_other_rules_strand_a_request_when_a_connection_is_dropped(dialect: str, rule: Rule) -> None:
    assert Search(Rules(dialect, deaths=0, drops=1, rule=rule)).found is not None


@pytest.mark.parametrize("early", [False, True])
def test_a_journal_written_after_ready_kills_an_engine(early: bool) -> None:
    rules = Rules("0.16", rule=Rule.JOURNAL_LAST, early=early)
    search = Search(rules, only_kills=True)
    assert search.found is not None
    assert rules.kills(search.found)
    assert "a second READY" in search.how()


@pytest.mark.parametrize("dialect", GENERATIONS)
def test_what_is_known_to_remain_and_how_an_operator_ends_it(dialect: str) -> None:
    """wave_complete and the start_wave after it are both lost: the next wave, started by hand, frees the request."""
    rules = Rules(dialect, lost_inputs=2)
    search = Search(rules)
    assert search.found is not None
    after = Search(rules, rules.start_by_hand(search.found, ahead=1))
    assert after.found is None, after.how()


@pytest.mark.parametrize("dialect", MENDING)
def test_the_same_remains_when_both_are_lost_with_a_connection(dialect: str) -> None:
    """The wave is not over, as far as the coordinator knows; its START is behind for the engines, as after a crash."""
    rules = Rules(dialect, deaths=0, drops=1, lost_together=True)
    search = Search(rules)
    assert search.found is not None
    after = Search(rules, rules.start_by_hand(search.found, ahead=1))
    assert after.found is None, after.how()


@pytest.mark.parametrize("dialect", ["0.16", "0.29"])
def test_a_notice_before_ready_is_lost_with_a_coordinator_that_dies_before_ready(dialect: str) -> None:
    """It comes back as if nothing had been; the current wave, started by hand, frees the request."""
    rules = Rules(dialect, early=True, requests=1)
    search = Search(rules)
    assert search.found is not None
    after = Search(rules, rules.start_by_hand(search.found, ahead=0))
    assert after.found is None, after.how()


def test_what_is_known_to_remain_of_a_start_before_0_18() -> None:
    """READY may have been sent, and must not be sent twice: when it was not, the engines have to be started anew."""
    rules, later = Rules("0.16", requests=1), Rules("0.29", requests=1)
    assert any(rules.lost_ready(world) for world in Search(rules))
    assert not any(later.lost_ready(world) for world in Search(later))
