"""Engines with both connections each, as tests of who is there have them."""

from __future__ import annotations

from typing import Any

from dp_coordinator.core.events import PeerIdentified
from dp_coordinator.core.snapshot import PeersView
from dp_coordinator.words import Channel
from tests.core.connections import connects, disconnects
from tests.core.driver import Driver

OUTPUT, BACK = Channel.BACK_OUTPUT, Channel.BACK_PUBLISH


class Deployment:
    """Engines with both connections, over ipc (a pid each) or tcp (a host each, or one for all)."""

    def __init__(self, count: int = 2, *, ipc: bool = False, host: str = "", dialect: str = "0.33") -> None:
        self._ipc, self._host = ipc, host
        self.driver = Driver(count, dialect, ready=False)
        for rank in range(count):
            self.engine_comes(rank)
        self.driver.advance(0.05)

    def engine_comes(self, rank: int, process: int = 0, *, reports: bool = True, titled: bool = False) -> None:
        """`process` tells a replacement from the first one. `titled`: over ipc its process's title tells the rank."""
        number = self.number(rank, process)
        where: dict[str, Any] = {"pid": number} if self._ipc else {"host": self._host or f"10.0.0.{rank}"}
        if titled and self._ipc:
            where["engine_index"] = rank
        self.driver.feed(connects(OUTPUT, number, socket_type="PUSH", **where))
        self.effects = self.driver.feed(connects(BACK, 1000 + number, **where))
        if reports:
            self.effects += self.driver.feed(PeerIdentified(number, rank))

    def engine_goes(self, rank: int, process: int = 0, why: str = "connection closed") -> None:
        number = self.number(rank, process)
        self.driver.feed(disconnects(OUTPUT, number, why))
        self.driver.feed(disconnects(BACK, 1000 + number, why))

    @staticmethod
    def number(rank: int, process: int) -> int:
        return 1 + rank + 100 * process

    @property
    def view(self) -> PeersView:
        return self.driver.core.snapshot(self.driver.now).peers

    @property
    def subscribed(self) -> int:
        return self.driver.core.engines_subscribed

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Waiting and running of each rank, as published last."""
        return [each[:2] for each in self.driver.loads()[-1].counts]
