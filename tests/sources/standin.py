"""API servers that answer as they are told to, on real sockets, and sources that ask them."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.options import SourceOptions
from dp_coordinator.sourced import RankView, SourcesView, TargetView
from dp_coordinator.watching import Watched

Raw: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]
PATIENCE_S = 30.0


def metrics(engine: int = 0, *, running: int = 0, waiting: int = 0, steps: float = 0, usage: float = 0.0) -> str:
    """Lines of a page of vLLM's, with the noise that is around them."""
    labels = f'{{engine="{engine}",model_name="tiny"}}'
    return f"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{labels} {running}.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{labels} {waiting}.0
vllm:num_requests_waiting_by_reason{{engine="{engine}",model_name="tiny",reason="capacity"}} 0.0
vllm:kv_cache_usage_perc{labels} {usage}
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{{engine="{engine}",le="1.0",model_name="tiny"}} 7.0
vllm:iteration_tokens_total_count{labels} {steps}
vllm:iteration_tokens_total_sum{labels} 900.0
vllm:generation_tokens_total{labels} {10 * steps}
python_gc_objects_collected_total{{generation="0"}} 7.0
"""


def answer(body: str | bytes, status: int = 200, **headers: str) -> bytes:
    """A whole HTTP answer."""
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(raw)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + raw


NOT_FOUND = answer("not found", 404)


@dataclass
class ApiServer:
    """What it answers may be changed at any time."""

    port: int = 0
    routes: dict[str, bytes | Raw] = field(default_factory=dict)
    """Path -> the answer, or what is done instead of one."""
    asked: list[str] = field(default_factory=list)
    """Heads of the requests that came."""
    listening: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    serving: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def tells(self, *pages: str) -> None:
        """Have it answer as vLLM."""
        self.routes["/metrics"] = answer("".join(pages), Content_Type="text/plain; version=0.0.4")
        self.routes.setdefault("/health", answer(""))

    def close(self) -> None:
        """Listen no more, and end every connection."""
        assert self.listening is not None
        self.listening.close()
        for writer in self.writers:
            writer.transport.abort()
        for task in self.serving:
            task.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.asked.append(head)
                given = self.routes.get(head.split()[1], NOT_FOUND)
                if isinstance(given, bytes):
                    writer.write(given)
                    await writer.drain()
                else:
                    await given(writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.serving.discard(task)
            self.writers.discard(writer)
            writer.close()


@asynccontextmanager
async def api_server(
    *pages: str, port: int = 0, host: str = "127.0.0.1", secure: ssl.SSLContext | None = None
) -> AsyncIterator[ApiServer]:
    """One that listens; with pages it answers as vLLM."""
    server = ApiServer()
    if pages:
        server.tells(*pages)
    server.listening = await asyncio.start_server(server.serve, host, port, ssl=secure)
    server.port = server.listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        server.close()
        await asyncio.gather(*server.serving)


@contextmanager
def served(*pages: str) -> Iterator[list[ApiServer]]:
    """API servers on a thread of their own, each with one of the pages."""
    made: Future[tuple[list[ApiServer], asyncio.Event]] = Future()

    async def serve() -> None:
        over = asyncio.Event()
        async with AsyncExitStack() as stack:
            made.set_result(([await stack.enter_async_context(api_server(page)) for page in pages], over))
            await over.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    servers, over = made.result(PATIENCE_S)
    try:
        yield servers
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def never(writer: asyncio.StreamWriter) -> None:
    """Answer nothing."""
    await asyncio.Event().wait()


class Rig:
    """Sources that ask, and what they told."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self._told = asyncio.Event()
        self.views: list[SourcesView] = []
        take = watched.sources._told

        def told(view: SourcesView) -> None:
            take(view)
            self.views.append(view)
            self._told.set()

        watched.sources._told = told

    @property
    def seen(self) -> Snapshot:
        return self.watched.mailbox.seen()

    @property
    def targets(self) -> dict[str, TargetView]:
        assert self.seen.sources is not None
        return {target.name: target for target in self.seen.sources.targets}

    def target(self, name: str) -> TargetView:
        return self.targets[name]

    def rank(self, rank: int) -> RankView:
        assert self.seen.sources is not None
        return self.seen.sources.ranks[rank]

    async def until(self, check: Callable[[], Any]) -> None:
        """Wait until it is so; each new view is looked at."""
        async with asyncio.timeout(PATIENCE_S):
            while not _holds(check):
                self._told.clear()
                await self._told.wait()

    async def looks(self, count: int) -> None:
        """Wait for so many views more."""
        wanted = len(self.views) + count
        await self.until(lambda: len(self.views) >= wanted)


def _holds(check: Callable[[], Any]) -> bool:
    try:
        return bool(check())
    except KeyError:
        return False


@asynccontextmanager
async def asking(*urls: str, **options: Any) -> AsyncIterator[Rig]:
    """Sources on these targets, as often as they may ask."""
    defaults: dict[str, Any] = {"scrape": urls, "scrape_interval": 0.2, "scrape_timeout": 1.0}
    rig = Rig(Watched(SourceOptions(**(defaults | options))))
    running = asyncio.create_task(rig.watched.run())
    try:
        yield rig
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def loads(*ranks: dict[str, Any], at: float | None = None) -> bytes:
    """SGLang's answer, as its sources say."""
    now = time.time() if at is None else at
    return answer(json.dumps({"timestamp": now, "version": "0.5.23", "loads": [{"timestamp": now} | r for r in ranks]}))
