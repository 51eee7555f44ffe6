"""The network between the coordinator and its peers: a TCP relay whose links can be cut, refused and held up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

CHUNK = 65_536


class Relay:
    """Relays on a thread of its own, one listener for each address that is asked for. Use as a context."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self._flows = asyncio.Event()

    def __enter__(self) -> Relay:
        self._loop.call_soon(self._flows.set)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def to(self, address: str) -> str:
        """An address at which `address` (tcp://HOST:PORT) is reached through here."""
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(lambda r, w: self._serve(r, w, host, int(port)), "127.0.0.1", 0), self._loop
        ).result()
        self._servers.append(server)
        return f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Every link is reset, and no new one comes about meanwhile."""
        self._refusing = True
        self._call(self._cut)
        try:
            yield
        finally:
            self._refusing = False

    @contextlib.contextmanager
    def held_up(self) -> Iterator[None]:
        """Links stay, and nothing goes through them meanwhile."""
        self._call(self._flows.clear)
        try:
            yield
        finally:
            self._call(self._flows.set)

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        self._cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _call(self, function: Callable[[], None]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(function)
        self._loop.call_soon_threadsafe(done.set)
        done.wait(10)

    def _cut(self) -> None:
        for writer in self._writers:
            _reset(writer)

    async def _serve(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter, host: str, port: int) -> None:
        self._writers.add(to_near)
        try:
            if self._refusing:
                return
            far, to_far = await asyncio.open_connection(host, port)
            self._writers.add(to_far)
            try:
                pumps = [asyncio.create_task(self._pump(*ends)) for ends in ((near, to_far), (far, to_near))]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
            finally:
                self._writers.discard(to_far)
                _reset(to_far)
        except OSError:
            pass  # nobody listens there now: whoever asked tries again
        finally:
            self._writers.discard(to_near)
            _reset(to_near)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self._flows.wait()
                target.write(data)
                await target.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
