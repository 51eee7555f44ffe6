"""A real web server on a free port, over a mailbox that a small loop with the real core fills."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.effects import Answer
from dp_coordinator.core.events import EngineStatsReported, Event, StartWaveRequested, WaveCompleted
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import Endpoints
from dp_coordinator.observer import Books, Host
from dp_coordinator.web.app import Application, create_app
from dp_coordinator.web.server import WebServer
from dp_coordinator.web.settings import WebSettings
from tests.core.connections import engine_subscribes

TOKEN = "a-token-of-decent-length"
ENDPOINTS = Endpoints("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3")


def _nothing() -> None:
    """What the loop does when it is idle."""


class FakeLoop:
    """A host that is fed from a queue on a thread of its own. The mailbox shows at once what was done."""

    def __init__(self, core: Coordinator, mailbox: Mailbox) -> None:
        self.core = core
        self._host = Host(core, [Books(core, mailbox, time.monotonic())])
        self.mailbox = mailbox
        self.turning = True
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="fake loop")
        mailbox.inbox.connect(self.wake)

    def wake(self) -> None:
        self._jobs.put(self._take_commands)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def feed(self, *events: Event) -> None:
        """Hand events to the core and return once the mailbox shows them."""
        self._on_loop(lambda: [self._host.take(event, time.monotonic()) for event in events])

    def tick(self, later: float) -> None:
        """Let `later` seconds pass for the core's deadlines."""
        self._on_loop(lambda: self._host.take(None, time.monotonic() + later))

    def seem_stuck(self, seconds: float) -> None:
        """Look as if the loop had not turned for so long."""
        self.turning = False
        self._on_loop(lambda: setattr(self.mailbox, "loop_alive_at", time.monotonic() - seconds))

    def subscribe_all(self) -> None:
        self.feed(*[engine_subscribes() for _ in range(self.core.engine_count)])

    def _on_loop(self, job: Callable[[], object]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            try:
                job()
                self.mailbox.snapshot = self.core.snapshot(time.monotonic())
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._jobs.put(run)
        done.result(10)

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=0.5)
            except queue.Empty:
                job = _nothing
            if job is None:
                return
            if self.turning:
                self.mailbox.loop_alive_at = time.monotonic()
            job()

    def _take_commands(self) -> None:
        for command, reply in self.mailbox.inbox.take():
            for effect in self._host.take(command, time.monotonic()):
                if isinstance(effect, Answer) and not reply.done():
                    reply.set_result(effect.value)


class Site:
    """One running server, and ways to talk to it."""

    def __init__(self, app: Application, mailbox: Mailbox, loop: FakeLoop, port: int) -> None:
        self.app = app
        self.mailbox = mailbox
        self.loop = loop
        self.port = port
        self.server: WebServer
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(path, **more)

    def start(self, body: Any = None, **headers: str) -> httpx.Response:
        body = {"reason": "a test"} if body is None else body
        return self.http.post("/api/v1/waves", json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    @contextmanager
    def stream(self, query: str = "", **more: Any) -> Iterator[ClientConnection]:
        more.setdefault("proxy", None)
        with connect(f"ws://127.0.0.1:{self.port}/api/v1/stream{query}", **more) as viewer:
            yield viewer

    def refusals(self) -> list[dict[str, Any]]:
        """Fields of the refused attempts in the event log, of each as many as its entry stands for."""
        refused = [e for e in self.mailbox.log.since(0) if e.kind == "manual_start_refused"]
        return [dict(e.fields) for e in refused for _ in range(e.first_seq, e.seq + 1)]


def fresh_mailbox(engine_count: int = 4, restarts: int = 0, **core: Any) -> tuple[Mailbox, Coordinator]:
    now = time.monotonic()
    coordinator = Coordinator(engine_count, Dialect.for_version("0.28"), now=now, **core)
    mailbox = Mailbox(coordinator.snapshot(now), ENDPOINTS, min_stats_update_interval=0.1, restarts=restarts)
    return mailbox, coordinator


@contextmanager
def site(
    engine_count: int = 4,
    *,
    answers: bool = True,
    server: dict[str, Any] | None = None,
    core: dict[str, Any] | None = None,
    agent: socket.socket | None = None,
    **more: Any,
) -> Iterator[Site]:
    """Serve. `answers` off: nobody takes commands. `core`: arguments of `fresh_mailbox`. `more` are settings.

    `agent` listens for HAProxy's agent checks.
    """
    more.setdefault("port", 0)
    mailbox, made = fresh_mailbox(engine_count, **(core or {}))
    loop = FakeLoop(made, mailbox)
    app = create_app(mailbox, WebSettings(**more), agent=agent)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        running = Site(app, mailbox, loop, listener.getsockname()[1])
        stack.enter_context(running.http)
        loop.start()
        stack.callback(loop.stop)
        if not answers:
            mailbox.inbox.connect(None)
        running.server = WebServer(app, **(server or {}))
        started = threading.Event()
        thread = threading.Thread(target=_serve, args=(running.server, listener, started), name="web")
        thread.start()
        stack.callback(thread.join)
        stack.callback(setattr, running.server, "should_exit", True)
        assert started.wait(10)
        yield running


def _serve(server: WebServer, listener: socket.socket, started: threading.Event) -> None:
    startup = server.startup

    async def watched(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = watched  # type: ignore[method-assign]
    server.run(sockets=[listener])


def stats(engine: int, *, waiting: int = 0, running: int = 1, step: int = 0, wave: int = 0) -> EngineStatsReported:
    return EngineStatsReported(engine, waiting, running, 0.25, step, wave)


def start_wave(wave: int = 0, engine: int = 0) -> StartWaveRequested:
    return StartWaveRequested(engine, wave)


def complete(wave: int = 0) -> WaveCompleted:
    return WaveCompleted(0, wave)
