"""A rank's connection to the collective. It comes back by itself, and brings an unanswered contribution again."""

from __future__ import annotations

import logging

import zmq

from dp_coordinator.client.sockets import Blocking
from dp_coordinator.simulation.collective import AllReduceResult, Contribution
from dp_coordinator.simulation.messages import Contributed, Member, Told, decode_told, encode, received
from dp_coordinator.values import host_port

log = logging.getLogger(__name__)


class CollectiveMember(Blocking):
    """Call `turn` whenever its socket is readable."""

    def __init__(self, address: str, rank: int, size: int) -> None:
        """Take part as `rank` of `size` in the collective at HOST:PORT."""
        self._me = Member(rank, size)
        super().__init__((zmq.XSUB, f"tcp://{host_port(address)}"), topic=encode(self._me))
        self._losses = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._number = 0
        self._pending: Contribution | None = None
        self.welcomed = False
        """Whether the collective was reached."""
        self.last_before: AllReduceResult | None = None
        """What the group had done when this process first came to it; None in a group that begins."""

    def contribute(self, contribution: Contribution) -> None:
        """Bring what the next step needs; its outcome comes from `turn`."""
        self._pending = contribution
        self._number += 1
        if self.welcomed:
            self._send_pending(contribution)

    def turn(self) -> list[AllReduceResult]:
        """Take in all that has arrived, and give the outcomes among it."""
        while self._losses.poll(0):
            self._losses.recv_multipart()
            log.warning("rank %d: lost the collective", self._me.rank)
        outcomes: list[AllReduceResult] = []
        for _, told in received(self.socket, decode_told, f"rank {self._me.rank}"):
            outcomes += self._come(told.outcome) if told.answers is None else self._hear(told)
        return outcomes

    def _hear(self, told: Told) -> list[AllReduceResult]:
        if told.outcome is None or told.answers != (self._number if self._pending else 0):
            return []  # news while an answer is on its way, or an answer that came twice
        self._pending = None
        return [told.outcome]

    def _come(self, last: AllReduceResult | None) -> list[AllReduceResult]:
        if not self.welcomed:
            self.welcomed, self.last_before = True, last
        if self._pending is None:
            return []
        if last is None or last[1:] < self._pending[1:]:
            self._send_pending(self._pending)
            return []
        # The step that this was brought to has begun; only its outcome was lost with the connection.
        self._pending = None
        return [last]

    def _send_pending(self, contribution: Contribution) -> None:
        self._send(encode(Contributed(self._me, self._number, contribution)))

    def close(self) -> None:
        """Leave the group."""
        self.socket.disable_monitor()
        self._losses.close()
        super().close()
