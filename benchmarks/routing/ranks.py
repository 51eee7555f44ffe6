"""Simulated ranks that take requests by HTTP as vLLM's API servers do, each on a port of its own, all in one process.

`python -m benchmarks.routing.ranks --ranks 4` prints their ports as one line of JSON. Each rank answers `POST
/v1/completions`, `GET /health` and `GET /metrics`, whose names are vLLM's; its engine is 0, as that of an instance
which knows nothing of the others. `POST /hang?on=1` to a rank lets its engine take no more steps, while all else of it
goes on answering; `POST /finish` answers all that it has.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sys
import time
from itertools import count
from statistics import fmean

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dp_coordinator.simulation.scheduler import Job, Scheduler

LOOK_S = 0.05
"""Between two looks at how uneven the ranks are."""
MODEL = "tiny"


class Rank:
    """One engine and its API server."""

    def __init__(self, index: int, slots: int, step_s: float) -> None:
        self._slots = slots
        self._scheduler = self._empty()
        self._step_s = step_s
        self._numbers = count()
        self._arrived: dict[int, float] = {}
        self._waited: dict[int, float] = {}
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._work = asyncio.Event()
        self._steps = self._tokens = 0
        self.index = index
        self.hangs = False

    @property
    def requests(self) -> int:
        """How many wait or run here."""
        return sum(self._scheduler.counts)

    async def run(self) -> None:
        """Step while there is work, at the engine's own pace however busy this machine is."""
        due = time.monotonic()
        while True:
            if self.hangs or not self._scheduler.unfinished:
                self._admit()
                self._work.clear()
                await self._work.wait()
                due = time.monotonic()
                continue
            self._admit()
            due += self._step_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not self.hangs:
                self._step()

    def _empty(self) -> Scheduler:
        return Scheduler(self._slots, kv_cache_tokens=self._slots * 10**6)

    def _admit(self) -> None:
        self._scheduler.admit()
        waiting = self._scheduler.counts[0]
        for number in list(self._arrived)[: max(0, len(self._arrived) - waiting)]:
            self._waited[number] = time.monotonic() - self._arrived.pop(number)

    def _step(self) -> None:
        self._steps += 1
        self._tokens += self._scheduler.counts[1]
        for job in self._scheduler.step():
            answer = self._answers.pop(job.id)
            if not answer.done():
                answer.set_result(None)

    async def complete(self, tokens: int) -> float:
        """One request; how long it waited until it ran, in seconds."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._arrived[number] = time.monotonic()
        self._scheduler.add(Job(b"", number, 0, tokens))
        self._work.set()
        await self._answers[number]
        return self._waited.pop(number, 0.0)

    def hang(self, *, on: bool) -> None:
        """Let the engine take no more steps, or go on."""
        self.hangs = on
        self._work.set()

    def finish(self) -> None:
        """Answer all requests now."""
        self._scheduler = self._empty()
        self._arrived.clear()
        for answer in self._answers.values():
            answer.set_result(None)
        self._answers.clear()

    def metrics(self) -> str:
        """The part of vLLM's metrics that tells of load."""
        waiting, running = self._scheduler.counts
        told = {
            "num_requests_waiting gauge": waiting,
            "num_requests_running gauge": running,
            "kv_cache_usage_perc gauge": self._scheduler.kv_cache_usage,
            "generation_tokens_total counter": self._tokens,
        }
        labels = f'{{engine="0",model_name="{MODEL}"}}'
        lines = [f"# TYPE vllm:{name}\nvllm:{name.split()[0]}{labels} {float(value)}" for name, value in told.items()]
        name, infinite = "vllm:iteration_tokens_total", f'{labels[:-1]},le="+Inf"}}'
        lines += [f"# TYPE {name} histogram", f"{name}_bucket{infinite} {self._steps}"]
        lines += [f"{name}_count{labels} {self._steps}", f"{name}_sum{labels} {self._tokens}", ""]
        return "\n".join(lines)

    def app(self) -> Starlette:
        """The API server."""

        async def completions(request: Request) -> Response:
            tokens = int((await request.json())["max_tokens"])
            waited = await self.complete(tokens)
            usage = {"completion_tokens": tokens}
            return JSONResponse({"model": MODEL, "usage": usage, "rank": self.index, "waited_s": waited})

        async def health(request: Request) -> Response:
            return PlainTextResponse("")

        async def metrics(request: Request) -> Response:
            return PlainTextResponse(self.metrics())

        async def hang(request: Request) -> Response:
            self.hang(on=request.query_params["on"] == "1")
            return PlainTextResponse("")

        async def finish(request: Request) -> Response:
            self.finish()
            return PlainTextResponse("")

        gets = {"/health": health, "/metrics": metrics}
        posts = {"/v1/completions": completions, "/hang": hang, "/finish": finish}
        routes = [Route(path, to) for path, to in gets.items()]
        return Starlette(routes=[*routes, *(Route(path, to, methods=["POST"]) for path, to in posts.items())])


class Looks:
    """How uneven the ranks are over time: the requests of the fullest one over the mean, at each look."""

    def __init__(self, ranks: list[Rank]) -> None:
        self._ranks = ranks
        self._seen: list[float] = []

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            requests = [rank.requests for rank in self._ranks]
            if any(requests):
                self._seen.append(max(requests) / fmean(requests))
            await asyncio.sleep(LOOK_S)

    def take(self) -> list[float]:
        """What was seen since the last call."""
        seen, self._seen = self._seen, []
        return seen


async def serve(arguments: argparse.Namespace) -> None:
    """Serve all ranks until cancelled."""
    ranks = [Rank(index, arguments.slots, arguments.step_ms / 1000) for index in range(arguments.ranks)]
    looks = Looks(ranks)

    async def uneven(request: Request) -> Response:
        return JSONResponse(looks.take())

    listeners = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in ranks]
    apps = [rank.app() for rank in ranks]
    apps[0].router.routes.append(Route("/uneven", uneven))
    servers = [uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)) for app in apps]
    print(json.dumps([listener.getsockname()[1] for listener in listeners]), flush=True)
    async with asyncio.TaskGroup() as group:
        for rank in ranks:
            group.create_task(rank.run())
        group.create_task(looks.run())
        for server, listener in zip(servers, listeners, strict=True):
            group.create_task(server.serve(sockets=[listener]))


def main() -> None:
    """Run until ended by a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--slots", type=int, default=4, help="requests that a rank runs at a time")
    parser.add_argument("--step-ms", type=float, default=20.0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
    sys.exit(0)
