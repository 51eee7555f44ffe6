"""People watching the dashboard: many WebSocket connections in a process of their own that read all they are sent."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from websockets.asyncio.client import connect

ATTACH_TIMEOUT_S = 60.0
_MESSAGES_AT_FIRST = 2  # hello, then a snapshot


@contextmanager
def viewers(http_url: str, count: int) -> Iterator[None]:
    """`count` viewers, each of which has had its first snapshot."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_main, args=(theirs, http_url, count), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(ATTACH_TIMEOUT_S) or ours.recv() != count:
            raise RuntimeError("the viewers could not be attached")
        yield
    finally:
        process.kill()
        process.join()
        ours.close()


def _main(pipe: Connection[int, None], http_url: str, count: int) -> None:
    os.nice(19)  # viewers sit at machines of their own: here they must not take the CPU that the coordinator needs
    asyncio.run(_watch(pipe, http_url.replace("http", "ws", 1) + "/api/v1/stream", count))


async def _watch(pipe: Connection[int, None], url: str, count: int) -> None:
    attached = asyncio.Semaphore(0)

    async def view() -> None:
        async with connect(url, compression=None) as stream:
            for _ in range(_MESSAGES_AT_FIRST):
                await stream.recv()
            attached.release()
            async for _ in stream:
                pass

    async with asyncio.TaskGroup() as everyone:
        for _ in range(count):
            everyone.create_task(view())
        for _ in range(count):
            await attached.acquire()
        pipe.send(count)
