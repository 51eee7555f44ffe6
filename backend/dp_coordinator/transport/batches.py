"""What has arrived at a socket, in batches bounded in frames and time, so that no socket keeps the others waiting."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from time import thread_time
from typing import Any, Literal, overload

import zmq

from dp_coordinator.transport.allowance import BIG
from dp_coordinator.transport.peers import PeerWatch

BATCH, CHUNK = 256, 16
"""Frames taken from one socket before the others and the deadline get a look (about a millisecond's work), and before
the clock does."""
LONGEST_BATCH = 0.005
"""Seconds for one socket, whatever it sends."""
Clock = Callable[[], float]


@overload
def receive(socket: zmq.Socket[bytes], watch: PeerWatch, clock: Clock, *, copy: Literal[True]) -> Iterator[bytes]: ...
@overload
def receive(
    socket: zmq.Socket[bytes], watch: PeerWatch, clock: Clock, *, copy: Literal[False]
) -> Iterator[zmq.Frame]: ...
def receive(socket: zmq.Socket[bytes], watch: PeerWatch, clock: Clock, *, copy: bool) -> Iterator[Any]:
    """What has arrived, at most a batch, each frame as soon as it is taken; without a copy it tells its sender.

    Between two frames the web thread may have the interpreter: a notice in hand is not kept waiting for the next one.
    What takes much longer than reports do, or is much larger, is no report: who sends it is looked at from then on.
    """
    recv, no_block, big = socket.recv, zmq.NOBLOCK, BIG if copy else math.inf
    until, worked = clock() + LONGEST_BATCH, thread_time()
    try:
        for _ in range(BATCH // CHUNK):
            for _ in range(CHUNK):
                yield (frame := recv(no_block, copy))
                if len(frame) > big:
                    watch.suspect(clock())
                    return
            if (now := clock()) > until:
                if thread_time() - worked > LONGEST_BATCH / 2:  # it was work, and not a wait for a processor
                    watch.suspect(now)
                return
    except zmq.Again:
        watch.emptied += 1
