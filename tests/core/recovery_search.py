"""All states that a small deployment can reach."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tests.core.recovery_states import World
from tests.core.recovery_world import Rules


class Search:
    """All states that can be reached, and the first one found in which a request is stranded, or an engine killed."""

    def __init__(self, rules: Rules, *first: World, only_kills: bool = False, to_the_end: bool = False) -> None:
        """`to_the_end`: go on where a request is stranded, and collect those worlds."""
        self._rules = rules
        self._only_kills, self._to_the_end = only_kills, to_the_end
        self._before: dict[World, World | None] = dict.fromkeys(first or (rules.first,))
        self.stranded: list[World] = []
        self.found = self._run()

    def __len__(self) -> int:
        return len(self._before)

    def __iter__(self) -> Iterator[World]:
        return iter(self._before)

    def _run(self) -> World | None:
        reached = list(self._before)
        for world in reached:  # it grows: breadth first
            ended = True
            for follower in self._rules.successors(world):
                ended = False
                self._reach(follower, world, reached)
            stranded = ended and not self._only_kills and self._rules.strands(world)
            if stranded and self._to_the_end:
                self.stranded.append(world)
            elif stranded or self._rules.kills(world):
                return world
            for follower in chain(self._rules.crashes(world), self._rules.drops(world), self._rules.strays(world)):
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
