"""The rules of the simulated ranks' process group, without sockets.

In a mixture-of-experts deployment a forward pass is collective: it takes all ranks, so one that steps alone blocks
until the others step too. Here a step begins when every rank that takes part has contributed what it knows, and each is
told the outcome. What differs from a real process group, so that a demo survives the death of a rank:

- a rank whose connection is gone is left out, and the others go on;
- one that comes back is told of every step, as news, and joins in if the others run. From its first contribution on it
  is waited for; if the step that this was meant for has begun already, the answer is what has become of it.
"""

from __future__ import annotations

from typing import NamedTuple


class Contribution(NamedTuple):
    """What a rank brings to a step."""

    unfinished: bool
    """Whether it will have requests left after this step."""
    wave: int
    step: int
    """Number of the step in its wave, from 1."""


class AllReduceResult(NamedTuple):
    """What all ranks know after it: any unfinished, and the furthest (wave, step)."""

    unfinished: bool
    wave: int
    step: int


class Delivery(NamedTuple):
    """What a rank is to be told."""

    rank: int
    outcome: AllReduceResult
    answer: bool
    """Whether it answers the rank's own contribution; otherwise it is news of a step without it."""


class Collective:
    """Who is connected, who takes part, and what was contributed to the step that has not begun yet."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.formed = False
        """Whether all ranks were connected at the same time once; no step begins before."""
        self.last: AllReduceResult | None = None
        self.connected: set[int] = set()
        self.taking_part: set[int] = set()
        """The ranks that a step waits for."""
        self.contributions: dict[int, Contribution] = {}

    def join(self, rank: int) -> list[Delivery]:
        """Connect a rank. Tell it `last`, if there is one."""
        self.connected.add(rank)
        if not self.formed and len(self.connected) == self.size:
            self.formed = True
            # Contributions before that come from ranks that were in the middle of a step when this group's host was
            # started again. The other ranks may be new and idle: these are not waited for.
            self.taking_part = set(self.contributions or self.connected)
        return self._begin_step()

    def leave(self, rank: int) -> list[Delivery]:
        """Disconnect a rank: the others go on without it."""
        self.connected.discard(rank)
        self.taking_part.discard(rank)
        self.contributions.pop(rank, None)
        return self._begin_step()

    def contribute(self, rank: int, contribution: Contribution) -> list[Delivery]:
        """Take a connected rank's contribution to the next step."""
        newcomer = self.formed and rank not in self.taking_part
        if newcomer and self.last is not None and contribution[1:] <= self.last[1:]:
            self.taking_part.add(rank)
            return [Delivery(rank, self.last, True)]
        self.contributions[rank] = contribution
        if newcomer:
            self.taking_part.add(rank)
        return self._begin_step()

    def _begin_step(self) -> list[Delivery]:
        """If nobody is missing, begin the step and tell every connected rank."""
        if not self.formed or not self.contributions or not self.taking_part <= self.contributions.keys():
            return []
        brought, self.contributions = self.contributions, {}
        wave, step = max((each.wave, each.step) for each in brought.values())
        self.last = AllReduceResult(any(each.unfinished for each in brought.values()), wave, step)
        return [Delivery(rank, self.last, rank in brought) for rank in sorted(self.connected)]
