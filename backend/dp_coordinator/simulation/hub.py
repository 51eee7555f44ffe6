"""The host of the collective: hears who comes and goes, and applies the rules of `simulation.collective`.

Each rank subscribes to a topic of its own, so a connection that is gone is a subscription that ends.
"""

from __future__ import annotations

import logging

import zmq

from dp_coordinator.addresses import bound_address, listen
from dp_coordinator.simulation.collective import Collective, Delivery
from dp_coordinator.simulation.messages import Member, Told, decode_contributed, decode_member, encode, received
from dp_coordinator.wire.client import SUBSCRIBE, UNSUBSCRIBE

log = logging.getLogger(__name__)

MAX_MESSAGE = 1024
"""Bytes; libzmq closes the connection of a peer that sends more, before it takes up memory."""


class CollectiveHub:
    """Bind it, then call `turn` whenever its socket is readable. One thread, no waiting inside."""

    def __init__(self, address: str, size: int) -> None:
        """Bind HOST:PORT for a group of `size` ranks; port 0 picks a free one. Raises `OSError`."""
        listener = listen(address, backlog=max(128, size))
        listener.setblocking(False)
        self.address = bound_address(listener)
        """Where ranks connect."""
        self._group = Collective(size)
        self._taken: dict[int, int] = {}
        """Rank -> number of its last contribution."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # a rank may be back before its end was noticed
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.USE_FD, listener.detach())
        self.socket.bind(f"tcp://{self.address}")

    def turn(self) -> None:
        """Do all that there is to do."""
        for _, deliveries in received(self.socket, self._take, "collective"):
            for rank, outcome, answer in deliveries:
                self._tell(rank, Told(self._taken[rank] if answer else 0, outcome))

    def _take(self, frame: bytes) -> list[Delivery]:
        """Take a rank's coming, its going, or a contribution. Raises `ValueError` for anything else."""
        if frame.startswith(SUBSCRIBE):
            return self._join(self._rank(decode_member(frame[1:])))
        if frame.startswith(UNSUBSCRIBE):
            rank = self._rank(decode_member(frame[1:]))
            log.info("collective: lost rank %d", rank)
            return self._group.leave(rank)
        member, number, contribution = decode_contributed(frame)
        rank = self._rank(member)
        if rank not in self._group.connected or self._taken.get(rank) == number:
            return []  # on its way while the connection was lost: it comes again, or came twice
        self._taken[rank] = number
        return self._group.contribute(rank, contribution)

    def _rank(self, member: Member) -> int:
        rank, size = member
        if size != self._group.size or not 0 <= rank < size:
            raise ValueError(f"rank {rank} of {size} does not belong to this group of {self._group.size}")
        return rank

    def _join(self, rank: int) -> list[Delivery]:
        deliveries = self._group.leave(rank)  # of an earlier connection, if there is one still
        self._taken.pop(rank, None)
        self._tell(rank, Told(None, self._group.last))
        return deliveries + self._group.join(rank)

    def _tell(self, rank: int, told: Told) -> None:
        self.socket.send_multipart([encode(Member(rank, self._group.size)), encode(told)])

    def close(self) -> None:
        """Close all connections."""
        self._context.destroy()
