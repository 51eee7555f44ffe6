"""The host of the collective: accepts the ranks' connections and applies the rules of `simulation.collective`."""

from __future__ import annotations

import logging
import selectors

from dp_coordinator.addresses import bound_address, listen
from dp_coordinator.simulation.collective import Collective, Contribution, Delivery
from dp_coordinator.simulation.frames import Channel, ConnectionLostError, Frame, Kind

log = logging.getLogger(__name__)


class CollectiveHub:
    """Bind it, then call `turn` whenever its file descriptor is readable. One thread, no waiting inside."""

    def __init__(self, address: str, size: int) -> None:
        """Bind HOST:PORT for a group of `size` ranks; port 0 picks a free one. Raises `OSError`."""
        self._listener = listen(address, backlog=max(128, size))
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._group = Collective(size)
        self._ranks: dict[int, Channel] = {}
        self.address = bound_address(self._listener)
        """Where ranks connect."""

    def fileno(self) -> int:
        """Give a descriptor that is readable while there is something to do."""
        return self._selector.fileno()

    def turn(self, timeout: float = 0.0) -> None:
        """Do what there is to do, waiting at most `timeout` seconds for it."""
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._listener:
                self._accept()
            else:
                self._read(key.data)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # gone again already, or out of descriptors
            log.warning("collective: cannot accept a connection: %s", error)
            return
        channel = Channel(connection)
        self._selector.register(connection, selectors.EVENT_READ, channel)

    def _read(self, channel: Channel) -> None:
        try:
            for frame in channel.receive():
                self._handle(channel, frame)
        except ConnectionLostError as error:
            self._drop(channel, str(error))

    def _handle(self, channel: Channel, frame: Frame) -> None:
        rank = self._rank_of(channel)
        if frame.kind is Kind.HELLO and rank is None:
            self._welcome(channel, frame)
        elif frame.kind is Kind.CONTRIBUTION and rank is not None:
            self._deliver(self._group.contribute(rank, Contribution(frame.unfinished, frame.wave, frame.step)))
        else:
            raise ConnectionLostError(f"{frame.kind.name} out of place")

    def _rank_of(self, channel: Channel) -> int | None:
        return next((rank for rank, other in self._ranks.items() if other is channel), None)

    def _welcome(self, channel: Channel, hello: Frame) -> None:
        if hello.step != self._group.size or hello.rank >= self._group.size:
            raise ConnectionLostError(
                f"rank {hello.rank} of {hello.step} does not belong to this group of {self._group.size}"
            )
        if (earlier := self._ranks.get(hello.rank)) is not None:
            self._drop(earlier, "replaced by a new connection of the same rank")
        last = self._group.last
        channel.send(Frame(Kind.WELCOME_FIRST) if last is None else Frame(Kind.WELCOME_BACK, last[0], 0, *last[1:]))
        self._ranks[hello.rank] = channel
        self._deliver(self._group.join(hello.rank))

    def _deliver(self, deliveries: list[Delivery]) -> None:
        lost: list[tuple[Channel, str]] = []
        for rank, outcome, answer in deliveries:
            kind = Kind.OUTCOME if answer else Kind.NEWS
            try:
                self._ranks[rank].send(Frame(kind, outcome.unfinished, rank, outcome.wave, outcome.step))
            except ConnectionLostError as error:
                lost.append((self._ranks[rank], str(error)))
        for channel, why in lost:
            self._drop(channel, why)

    def _drop(self, channel: Channel, why: str) -> None:
        rank = self._rank_of(channel)
        log.info("collective: lost %s: %s", "a connection" if rank is None else f"rank {rank}", why)
        if channel.socket.fileno() >= 0:
            self._selector.unregister(channel.socket)
            channel.close()
        if rank is not None:
            del self._ranks[rank]
            self._deliver(self._group.leave(rank))

    def close(self) -> None:
        """Close all connections."""
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
