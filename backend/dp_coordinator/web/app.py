"""Puts the web layer together: `create_app(mailbox, settings)`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Lifespan, Receive, Scope, Send
from starlette.websockets import WebSocket

from dp_coordinator import __version__
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.web import problems
from dp_coordinator.web.access.refusals import RefusalLog
from dp_coordinator.web.access.security import Gate, address_of
from dp_coordinator.web.access.sessions import Sessions
from dp_coordinator.web.access.turned_away import TurnedAway
from dp_coordinator.web.api import playback, recording, reference, rest
from dp_coordinator.web.api.commands import Commands
from dp_coordinator.web.api.metrics import Metrics
from dp_coordinator.web.deployments import Others
from dp_coordinator.web.pages import Pages
from dp_coordinator.web.past import Past
from dp_coordinator.web.problems import ProblemError
from dp_coordinator.web.routers import Routers
from dp_coordinator.web.settings import WebSettings, check_exposure, page_url
from dp_coordinator.web.stream.broadcaster import Broadcaster
from dp_coordinator.web.stream.connection import CONNECTION, Connection
from dp_coordinator.web.stream.serving import serve
from dp_coordinator.web.telling.webhook import Webhook
from dp_coordinator.web.views import WallClock

_ABOUT = "State, events and manual starts of a data-parallel deployment. The stream: WS /api/v1/stream?since=N."
_DESCRIBED: dict[str, Any] = {
    "title": "dp-coordinator",
    "version": __version__,
    "description": _ABOUT,
    "docs_url": None,
    "redoc_url": None,
    "redirect_slashes": False,
    "servers": [{"url": "."}],  # relative: a proxy may show us under a path of its choice
}
_SINCE_DIGITS = 16


class Application(FastAPI):
    """FastAPI, with the schemas of our own message types in its description."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep hold of the connection: what is further in is given another `send` than the server's own."""
        scope[CONNECTION] = Connection(send)
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            from dp_coordinator.web.api.schema import components  # noqa: PLC0415  (also run with -m: not imported before)

            described = super().openapi()
            described["components"] = {
                "schemas": components(),
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            }
            described["security"] = [{}, {"token": []}]
        return super().openapi()


Background: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Runs on the web layer's event loop until it is cancelled."""


def create_app(
    mailbox: Mailbox, settings: WebSettings, beside: Sequence[Background] = (), agent: socket.socket | None = None
) -> Application:
    """The whole web layer over one mailbox. Raises `ConfigurationError` for settings that would expose it.

    `beside`: what runs on its event loop as long as it serves. `agent` listens for HAProxy's agent checks.
    """
    check_exposure(settings)
    mailbox.name = mailbox.name or settings.name
    clock, past = WallClock(mailbox.wall_offset), Past()
    sessions, refusals = Sessions(settings), RefusalLog(mailbox.log, settings.refusals_logged_per_s)
    turned_away, broadcaster = TurnedAway(), Broadcaster(mailbox, settings, clock, past)
    webhook = None
    if settings.webhook is not None and mailbox.player is None:
        webhook = Webhook(mailbox, broadcaster.alarms, settings, clock, page_url(settings))
    others, routers_told = Others(settings.peers), Routers(mailbox, broadcaster.alarms, settings, sessions, agent)
    ticks: list[Callable[[float], None]] = [refusals.flush, turned_away.flush, routers_told.tick]
    app = Application(
        lifespan=_beside(broadcaster, webhook, ticks, [others.run, routers_told.run, *beside]),
        middleware=[Middleware(Gate, settings=settings, sessions=sessions, refusals=refusals, turned_away=turned_away)],
        **_DESCRIBED,
    )
    app.state.sessions, app.state.broadcaster, app.state.turned_away = sessions, broadcaster, turned_away
    app.state.loads = routers_told.stream
    metrics = Metrics(
        mailbox,
        lambda: (len(broadcaster.viewers), broadcaster.stalled),
        lambda: broadcaster.alarms.standing,
        lambda: turned_away.counts,
        webhook=lambda: {} if webhook is None else webhook.counts,
        more=routers_told.gauges,
    )
    routers = [
        rest.state_routes(mailbox, broadcaster.alarms, clock),
        rest.history_routes(past, clock, mailbox),
        rest.alarm_routes(mailbox, broadcaster.alarms, clock),
        rest.deployment_routes(others),
        routers_told.routes(),
        rest.session_routes(sessions, settings, turned_away),
        rest.operating_routes(mailbox, settings, metrics),
        reference.router(),
    ]
    if not mailbox.snapshot.watched:  # else nothing can be started, and nothing enters a core that could be recorded
        commands = Commands(mailbox, settings, refusals)
        routers += [*rest.command_routes(mailbox, commands, clock), recording.routes(mailbox)]
    if mailbox.player is not None:
        routers.append(playback.routes(mailbox, mailbox.player, settings))
    _add_routes(app, routers, Pages(settings.static_dir))
    _add_stream(app, broadcaster, turned_away)
    return app


def _add_routes(app: FastAPI, routers: Sequence[APIRouter], pages: Pages) -> None:
    for router in routers:
        app.include_router(router)
    _add_problems(app, pages, [route for router in routers for route in router.routes])


def _beside(
    broadcaster: Broadcaster,
    webhook: Webhook | None,
    ticks: list[Callable[[float], None]],
    more: Sequence[Background],
) -> Lifespan[FastAPI]:
    """What goes on beside the answers to requests, from the server's start to its end."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        at_work = [asyncio.create_task(run()) for run in more]
        if webhook is not None:
            ticks.append(webhook.tick)
            at_work.append(asyncio.create_task(webhook.run()))
        at_work.append(asyncio.create_task(broadcaster.run(*ticks)))
        yield
        await broadcaster.stop()
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)

    return lifespan


def _add_stream(app: FastAPI, broadcaster: Broadcaster, turned_away: TurnedAway) -> None:
    @app.get("/api/v1/stream", include_in_schema=False)
    async def not_upgraded(request: Request) -> Response:
        detail = (
            "the stream is a WebSocket, and this request did not ask for one; a proxy must pass the handshake on "
            "(nginx: `proxy_http_version 1.1`, and the headers Upgrade and Connection)"
        )
        turned_away.add("upgrade", address_of(request.scope), detail, stream=True)
        raise ProblemError("upgrade-required", detail, headers={"Upgrade": "websocket"})

    @app.websocket("/api/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        since, changes = (websocket.query_params.get(name) for name in ("since", "changes"))
        detail = None
        if since is not None and not (since.isascii() and since.isdecimal() and len(since) < _SINCE_DIGITS):
            detail = f"query parameter 'since': an event number from 0 on, not {since[:80]!r}"
        elif changes not in (None, "0", "1"):
            detail = f"query parameter 'changes': 1 (changes, not whole snapshots) or 0, not {changes[:80]!r}"
        if detail is not None:
            refusal = ProblemError("invalid-parameter", detail)
            await problems.refuse_websocket(refusal, websocket.scope, websocket.receive, websocket.send)
            return
        await serve(websocket, None if since is None else int(since), broadcaster, changes == "1")


def _add_problems(app: FastAPI, pages: Pages, routes: Sequence[BaseRoute]) -> None:
    @app.exception_handler(ProblemError)
    async def on_problem(request: Request, error: ProblemError) -> Response:
        return problems.response(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> Response:
        return problems.response(problems.of_validation(error), request.url.path)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        """What no route takes: a file of the page, or a problem."""
        path, method = request.url.path, request.method
        if error.status_code == 404:
            page = pages.find(path, request.headers) if method == "GET" else None
            detail = "no such path; the routes are listed at /docs"
            return page or problems.http_error(404, detail, path, error.headers)
        if error.status_code == 405:
            allowed = ", ".join(_methods(routes, request))
            return problems.http_error(405, f"{method} does not work here; {allowed} does", path, {"Allow": allowed})
        return problems.http_error(error.status_code, str(error.detail), path, error.headers)


def _methods(routes: Sequence[BaseRoute], request: Request) -> list[str]:
    """All methods that work on a request's path: the framework names those of one route only."""
    found: set[str] = set()
    for route in routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)
