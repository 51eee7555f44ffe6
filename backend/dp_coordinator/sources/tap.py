"""A SUB on the front_publish of somebody's coordinator: wave, running and counts, without replacing anything.

A SUB there is harmless: coordinators count only XSUBs, which can write. It hears one within five seconds, at which
coordinators publish even when nothing changes (vllm/v1/engine/coordinator.py, `process_input_socket`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import zmq
import zmq.asyncio

from dp_coordinator.wire.client import FrameError, Publication, decode_publication

SILENT_AFTER_S = 15.0
_FRAME_AT_MOST = 16 * 1024 * 1024
_HELD = 100
"""Publications that wait for us: only the newest matters, and older ones carry nothing that it does not."""


class Tapped(Protocol):
    """Who is told of what is heard."""

    def tapped(self, name: str, published: Publication, now: float) -> None:
        """A publication came."""

    def tap_failed(self, name: str, problem: str, now: float) -> None:
        """None comes, or none that can be read."""


async def listen(address: str, book: Tapped, news: Callable[[], None]) -> None:
    """Until cancelled: tell `book` what comes, and call `news` then."""
    with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, _HELD)
        socket.setsockopt(zmq.MAXMSGSIZE, _FRAME_AT_MOST)
        socket.setsockopt(zmq.IPV6, 1)
        socket.subscribe(b"")
        socket.connect(address)
        while True:
            try:
                async with asyncio.timeout(SILENT_AFTER_S):
                    frames = await socket.recv_multipart()
                book.tapped(address, decode_publication(frames[-1] if len(frames) == 1 else b""), time.monotonic())
            except TimeoutError:
                book.tap_failed(address, f"nothing was heard for {SILENT_AFTER_S:g} s", time.monotonic())
            except FrameError as error:
                said = f"what is published there is no coordinator's: {error}"
                book.tap_failed(address, said[:200], time.monotonic())
            news()
