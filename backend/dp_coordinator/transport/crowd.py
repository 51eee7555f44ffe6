"""How many connections a socket has, and which of them is to end when there are too many.

Of each libzmq sets aside 100 KB, whoever it is and whatever it says, so a stranger that only connects, again and again,
would fill the process. It is no use to refuse whoever comes last, for an engine that comes back is one of those.
"""

from __future__ import annotations

from dp_coordinator.hosts import neighbourhood
from dp_coordinator.words import Channel

MOST = {Channel.FRONT_PUBLISH: 1024, Channel.BACK_PUBLISH: 256, Channel.BACK_OUTPUT: 256}
"""Connections of a socket, and two more for each engine: it, and one in its place before it is known to have died."""


class Crowd:
    """The connections of one socket, by where they come from."""

    def __init__(self, channel: Channel, engines: int) -> None:
        """`engines`: how many are expected."""
        self.most = MOST[channel] + 2 * engines
        self._places: dict[str, dict[int, bool]] = {}
        """Neighbourhood -> descriptor, in the order in which they came -> whether it has said what it is for."""
        self._count = 0

    def comes(self, descriptor: int, host: str) -> int | None:
        """One more is there. Gives the descriptor of the one that is to end for it, which is counted no longer.

        Of those from where most come it is the one that has said nothing for the longest time, or the last to come.
        """
        self._places.setdefault(neighbourhood(host), {})[descriptor] = False
        self._count += 1
        if self._count <= self.most:
            return None
        place = max(self._places.values(), key=len)
        ends = next((each for each, spoke in place.items() if not spoke), next(reversed(place)))
        self._count -= 1
        del place[ends]
        return ends

    def speaks(self, descriptor: int, host: str) -> None:
        """It has subscribed, or reported as an engine."""
        place = self._places.get(neighbourhood(host), {})
        if descriptor in place:
            place[descriptor] = True

    def goes(self, descriptor: int, host: str) -> None:
        """It has ended."""
        place = neighbourhood(host)
        there = self._places.get(place, {})
        self._count -= there.pop(descriptor, None) is not None
        if not there:
            self._places.pop(place, None)
