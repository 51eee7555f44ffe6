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

from dp_coordinator.sources.telling import ENGINES_AT_MOST, count
from dp_coordinator.wire.client import FrameError, Publication, decode_publication

SILENT_AFTER_S = 15.0
_FRAME_AT_MOST = 1024 * 1024
_HELD = 16
"""Publications that wait for us."""
_PACE_S = 0.005
"""Between two of them, so that who publishes without a pause leaves room for everything else; coordinators publish ten
times a second, and whenever a wave begins or ends."""
_WAVE_AT_MOST = 2**53


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
                book.tapped(address, _publication(frames), time.monotonic())
            except TimeoutError:
                book.tap_failed(address, f"nothing was heard for {SILENT_AFTER_S:g} s", time.monotonic())
            except FrameError as error:
                said = f"what is published there is no coordinator's: {error}"
                book.tap_failed(address, said[:200], time.monotonic())
            news()
            await asyncio.sleep(_PACE_S)


def _publication(frames: list[bytes]) -> Publication:
    """What is published. Raises `FrameError`, also for numbers that cannot be."""
    if len(frames) != 1:
        raise FrameError(f"{len(frames)} frames came together, expected one")
    published = decode_publication(frames[0])
    counts = published.counts or ()
    numbers = (number for load in counts for number in (load.waiting, load.running))
    if len(counts) > ENGINES_AT_MOST or not all(count(number) is not None for number in numbers):
        raise FrameError(f"counts of {len(counts)} engines that cannot be")
    if not 0 <= published.current_wave < _WAVE_AT_MOST:
        raise FrameError(f"there is no wave {published.current_wave}")
    return published
