"""What the loop waits for."""

from __future__ import annotations

import selectors
from collections.abc import Iterable
from typing import Protocol

import zmq


class HasDescriptor(Protocol):
    """A socket, or an end of a pipe."""

    def fileno(self) -> int:
        """What the kernel knows it by."""


class Polling:
    """Sockets, and what is seldom readable.

    libzmq looks at each socket before it waits and after, and START waits, too. So what is seldom readable is one thing
    to look at. A socket's own descriptor tells only of what comes after it was read until nothing was left
    (zmq_getsockopt(3), ZMQ_FD): so must all of it be read once at first, and whenever `seldom` is there.
    """

    def __init__(self, sockets: Iterable[zmq.Socket[bytes]], seldom: Iterable[HasDescriptor]) -> None:
        self._poller = zmq.Poller()
        self._seldom = selectors.DefaultSelector()
        for each in seldom:
            self._seldom.register(each, selectors.EVENT_READ)
        self.seldom = self._seldom.fileno()
        """What `wait` gives for any of these."""
        for thing in (*sockets, self.seldom):
            self._poller.register(thing, zmq.POLLIN)

    def wait(self, timeout_ms: int) -> dict[object, int]:
        """What is readable, as soon as anything is."""
        return dict(self._poller.poll(timeout_ms))

    def close(self) -> None:
        """The sockets stay open."""
        self._seldom.close()
