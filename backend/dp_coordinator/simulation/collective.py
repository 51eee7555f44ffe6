"""The rules of the simulated ranks' process group, without sockets.

In a mixture-of-experts deployment a forward pass is collective: it takes all ranks, so one that steps alone blocks
until the others step too. Here a step begins when every rank that takes part has contributed what it knows, and each is
told the outcome. What differs from a real process group, so that a demo survives the death of a rank:

- a rank whose connection is gone is left out, and the others go on;
- one that comes back hears what it missed. It is waited for from its first contribution on, and until then it is told
  every outcome: if the others run, it joins in with the next step.
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


class Outcome(NamedTuple):
    """What all ranks know after it: any unfinished, and the furthest (wave, step)."""

    unfinished: bool
    wave: int
    step: int


Deliveries = list[tuple[int, Outcome]]
"""(rank, what it is to be told)."""


class Collective:
    """Who is connected, who takes part, and what was contributed to the step that has not begun yet."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.formed = False
        """Whether all ranks were connected at the same time once; no step begins before."""
        self.last: Outcome | None = None
        self.connected: set[int] = set()
        self.taking_part: set[int] = set()
        """The ranks that a step waits for."""
        self.contributions: dict[int, Contribution] = {}

    def join(self, rank: int) -> Deliveries:
        """Connect a rank. Tell it `last`, if there is one."""
        self.connected.add(rank)
        if not self.formed and len(self.connected) == self.size:
            self.formed = True
            # Contributions before that come from ranks that were in the middle of a step when this group's host was
            # started again. The other ranks may be new and idle: these are not waited for.
            self.taking_part = set(self.contributions or self.connected)
        return self._begin_step()

    def leave(self, rank: int) -> Deliveries:
        """Disconnect a rank: the others go on without it."""
        self.connected.discard(rank)
        self.taking_part.discard(rank)
        self.contributions.pop(rank, None)
        return self._begin_step()

    def contribute(self, rank: int, contribution: Contribution) -> Deliveries:
        """Take a connected rank's contribution to the next step."""
        self.contributions[rank] = contribution
        if self.formed:
            self.taking_part.add(rank)
        return self._begin_step()

    def _begin_step(self) -> Deliveries:
        """If nobody is missing, begin the step and tell every connected rank."""
        if not self.formed or not self.contributions or not self.taking_part <= self.contributions.keys():
            return []
        brought = list(self.contributions.values())
        wave, step = max((each.wave, each.step) for each in brought)
        self.last = Outcome(any(each.unfinished for each in brought), wave, step)
        self.contributions.clear()
        return [(rank, self.last) for rank in sorted(self.connected)]
