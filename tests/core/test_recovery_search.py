"""Every way in which the coordinator can die once, and its peers go on: no request is stranded, no wave goes back.

An exhaustive search over a small deployment (tests/core/recovery_world.py) with the real core in it. A request is
stranded when everything that can happen has happened and some engine still has it: the engine is in a step, and another
one never joins. Periodic load publications are among what can happen.

`DEEP_SEARCH=1` adds larger deployments, which take minutes and gigabytes.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.core.recovery_cores import Rule
from tests.core.recovery_world import Rules, World, stranded

GENERATIONS = ["0.16", "0.29", "0.33"]
DEEP: list[tuple[str, dict[str, Any]]] = [
    ("0.33", {"requests": 3}),
    ("0.33", {"deaths": 2}),
    ("0.16", {"requests": 1, "front_ends": 2}),
    ("0.29", {"requests": 1, "front_ends": 2}),
    ("0.33", {"requests": 1, "front_ends": 2}),
]


class Search:
    """All states that can be reached, and the first one found in which a request is stranded."""

    def __init__(self, rules: Rules, first: World | None = None) -> None:
        self._rules = rules
        self._before: dict[World, World | None] = {first or rules.first: None}
        self.found = self._run()

    def __len__(self) -> int:
        return len(self._before)

    def _run(self) -> World | None:
        reached = list(self._before)
        for world in reached:  # it grows: breadth first
            ended = True
            for follower in self._rules.successors(world):
                ended = False
                self._reach(follower, world, reached)
            if ended and stranded(world):
                return world
            for follower in self._rules.crashes(world):
                self._reach(follower, world, reached)
        return None

    def _reach(self, world: World, before: World, reached: list[World]) -> None:
        if world not in self._before:
            self._before[world] = before
            reached.append(world)

    def how(self) -> str:
        """The shortest way to what was found."""
        path: list[World] = []
        world = self.found
        while world is not None:
            path.insert(0, world)
            world = self._before[world]
        return "\n".join(self._rules.describe(world) for world in path)


@pytest.mark.parametrize("dialect", GENERATIONS)
def test_a_crash_at_any_moment_strands_no_request(dialect: str) -> None:
    search = Search(Rules(dialect))
    assert search.found is None, search.how()
    assert len(search) > 10_000  # it went everywhere, and did not stop at the start


@pytest.mark.skipif("DEEP_SEARCH" not in os.environ, reason="takes minutes and gigabytes: set DEEP_SEARCH=1")
@pytest.mark.parametrize(("dialect", "size"), DEEP)
def test_the_same_in_larger_deployments(dialect: str, size: dict[str, int]) -> None:
    search = Search(Rules(dialect, **size))
    assert search.found is None, search.how()


@pytest.mark.parametrize("dialect", GENERATIONS)
def test_without_a_crash_nothing_is_stranded_either(dialect: str) -> None:
    search = Search(Rules(dialect, deaths=0))
    assert search.found is None, search.how()


@pytest.mark.parametrize("dialect", GENERATIONS)
@pytest.mark.parametrize("rule", [Rule.NOTHING, Rule.ONE_START, Rule.RAISED])
def test_other_rules_strand_a_request(dialect: str, rule: Rule) -> None:
    assert Search(Rules(dialect, rule=rule)).found is not None


@pytest.mark.parametrize("dialect", GENERATIONS)
def test_what_is_known_to_remain_and_how_an_operator_ends_it(dialect: str) -> None:
    """wave_complete and the start_wave after it are both lost: the next wave, started by hand, frees the request."""
    rules = Rules(dialect, lost_inputs=2)
    search = Search(rules)
    assert search.found is not None
    after = Search(rules, rules.start_next_wave(search.found))
    assert after.found is None, after.how()
