"""A rank's connection to the collective. It comes back by itself, and brings an unanswered contribution again."""

from __future__ import annotations

import contextlib
import errno
import logging
import selectors
import socket
import time
from collections.abc import Callable

from dp_coordinator.simulation.collective import AllReduceResult, Contribution
from dp_coordinator.simulation.frames import Channel, ConnectionLostError, Frame, Kind
from dp_coordinator.values import parse_host_port

log = logging.getLogger(__name__)

RETRY_S = 0.2
"""Seconds between attempts to connect."""


class CollectiveMember:
    """Call `turn` whenever its file descriptor is readable, and every `RETRY_S` seconds while not `welcomed`."""

    def __init__(self, address: str, rank: int, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Take part as `rank` of `size` in the collective at HOST:PORT."""
        self._address = parse_host_port(address)
        self._rank, self._size = rank, size
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._channel: Channel | None = None
        self._try_at = clock()
        self._pending: Contribution | None = None
        self._outcomes: list[AllReduceResult] = []
        self.welcomed = False
        """Whether the connection stands."""
        self.last_before: AllReduceResult | None = None
        """What the group had done when this process first came to it; None in a group that begins."""
        self._came_before = False

    def fileno(self) -> int:
        """Give a descriptor that is readable while there is something to do."""
        return self._selector.fileno()

    def contribute(self, contribution: Contribution) -> None:
        """Bring what the next step needs; its outcome comes from `turn`."""
        self._pending = contribution
        if self.welcomed:
            self._send_contribution()

    def turn(self, timeout: float = 0.0) -> list[AllReduceResult]:
        """Do what there is to do, waiting at most `timeout` seconds for it, and give the outcomes that arrived."""
        if self._channel is None and self._clock() >= self._try_at:
            self._connect()
        for _, events in self._selector.select(timeout):
            if self._channel is None:
                break
            try:
                self._handle(self._channel, events)
            except ConnectionLostError as error:
                self._lose(str(error))
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _connect(self) -> None:
        try:
            family, kind, number, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM)[0]
            channel = Channel(socket.socket(family, kind, number))
        except OSError as error:  # the name is not known (yet)
            self._lose(str(error))
            return
        self._channel = channel
        code = channel.socket.connect_ex(address)
        if code not in {0, errno.EINPROGRESS}:
            self._lose(errno.errorcode.get(code, str(code)))
            return
        self._selector.register(channel.socket, selectors.EVENT_WRITE)

    def _handle(self, channel: Channel, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            code = channel.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise ConnectionLostError(errno.errorcode.get(code, str(code)))
            self._selector.modify(channel.socket, selectors.EVENT_READ)
            channel.send(Frame(Kind.HELLO, rank=self._rank, step=self._size))
            return
        for frame in channel.receive():
            self._receive(frame)

    def _receive(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.WELCOME_FIRST:
                self._come(None)
            case Kind.WELCOME_BACK:
                self._come(AllReduceResult(frame.unfinished, frame.wave, frame.step))
            case Kind.OUTCOME:
                self._pending = None
                self._outcomes.append(AllReduceResult(frame.unfinished, frame.wave, frame.step))
            case Kind.NEWS:
                if self._pending is None:  # otherwise an answer is on its way
                    self._outcomes.append(AllReduceResult(frame.unfinished, frame.wave, frame.step))
            case _:
                raise ConnectionLostError(f"{frame.kind.name} out of place")

    def _come(self, last: AllReduceResult | None) -> None:
        self.welcomed = True
        if not self._came_before:
            self._came_before = True
            self.last_before = last
        if self._pending is None:
            return
        if last is not None and last[1:] >= self._pending[1:]:
            # The step that this was brought to has begun; only its outcome was lost with the connection.
            self._pending = None
            self._outcomes.append(last)
        else:
            self._send_contribution()

    def _send_contribution(self) -> None:
        assert self._channel is not None
        assert self._pending is not None
        unfinished, wave, step = self._pending
        try:
            self._channel.send(Frame(Kind.CONTRIBUTION, unfinished, self._rank, wave, step))
        except ConnectionLostError as error:
            self._lose(str(error))

    def _lose(self, why: str) -> None:
        if self.welcomed:
            log.warning("rank %d: lost the collective: %s", self._rank, why)
        self.welcomed = False
        self._try_at = self._clock() + RETRY_S
        if self._channel is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._channel.socket)
            self._channel.close()
            self._channel = None

    def close(self) -> None:
        """Leave the group."""
        if self._channel is not None:
            self._channel.close()
        self._selector.close()
