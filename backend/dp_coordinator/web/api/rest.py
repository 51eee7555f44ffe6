"""The REST routes. Responses are encoded by msgspec; what may go wrong is a problem (problems.py)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import Alarm, AlarmPage, EnginePage, WavePage
from dp_coordinator.requests import CorrectionMade, Login, Session
from dp_coordinator.web import sources, views
from dp_coordinator.web.access.proxies import PREFIX
from dp_coordinator.web.access.security import IDENTITY, address_of, unbelieved
from dp_coordinator.web.access.sessions import NOBODY, Identity, Sessions
from dp_coordinator.web.access.turned_away import TurnedAway
from dp_coordinator.web.alarms import AlarmBoard
from dp_coordinator.web.api import events, health
from dp_coordinator.web.api.bodies import decode, read_json
from dp_coordinator.web.api.commands import Commands
from dp_coordinator.web.api.metrics import Metrics
from dp_coordinator.web.api.routing import accepts, api_router, json_response, responds
from dp_coordinator.web.deployments import Others
from dp_coordinator.web.past import LONGEST_S, Past
from dp_coordinator.web.problems import ProblemError
from dp_coordinator.web.settings import WebSettings
from dp_coordinator.words import Corrected

_SEQ_AT_MOST = 2**53 - 1
COOKIE_PATH = re.compile(r"/([\w.~%!$&'()*+,;=:@-]+/){0,20}")
"""Where a page may have been loaded from."""
Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many.")]
Since = Annotated[int | None, Query(ge=0, le=_SEQ_AT_MOST, description="After this number; without it the newest.")]
Kinds = Annotated[
    list[Annotated[str, Query(min_length=1, max_length=64)]],
    Query(max_length=32, description="Only this kind; may be given several times."),
]
Window = Annotated[float, Query(ge=1, le=LONGEST_S, description="Seconds back from now.")]
Moment = Annotated[float, Query(ge=0, allow_inf_nan=False, description="The moment, in Unix seconds.")]


def state_routes(mailbox: Mailbox, alarms: AlarmBoard, clock: views.WallClock) -> APIRouter:
    """What is, and the logs of what happened."""
    router = api_router("state")

    def standing() -> tuple[list[Alarm], float]:
        now = mailbox.clock()
        return alarms.messages(now, clock), now

    @router.get("/state", responses=responds("State", "Everything now."))
    async def state() -> Response:
        return json_response(views.state(mailbox, mailbox.seen(), *standing(), clock))

    @router.get("/summary", responses=responds("Summary", "All in a row, for other coordinators' pages."))
    async def summary() -> Response:
        return json_response(views.summary(mailbox, mailbox.seen(), *standing(), clock))

    @router.get("/engines", responses=responds("EnginePage", "All ranks in order."))
    async def engines() -> Response:
        return json_response(EnginePage(views.engines(mailbox.seen(), *standing(), clock)))

    @router.get("/engines/{index}", responses=responds("Engine", "One rank."))
    async def engine(index: Annotated[int, Path(ge=0, le=_SEQ_AT_MOST)]) -> Response:
        snapshot = mailbox.seen()
        if index >= snapshot.engine_count:
            raise ProblemError("not-found", f"there is no engine {index}: they are 0 to {snapshot.engine_count - 1}")
        return json_response(views.engines(snapshot, *standing(), clock)[index])

    @router.get("/peers", responses=responds("PeerPage", "Who is connected, and which ranks are gone."))
    async def peers() -> Response:
        return json_response(views.peers(mailbox.seen(), clock))

    @router.get("/sources", responses=responds("SourcePage", "Who is asked about the ranks, and how each answers."))
    async def listed_sources() -> Response:
        return json_response(sources.page(mailbox.seen().sources, clock.of))

    @router.get("/waves", responses=responds("WavePage", "Newest first."))
    async def waves(limit: Limit = 100) -> Response:
        return json_response(WavePage(views.waves(mailbox.seen(), limit, mailbox.clock(), clock)))

    @router.get("/events", responses=responds("EventPage", "Oldest first."))
    async def event_log(since: Since = None, kind: Kinds = [], limit: Limit = 100) -> Response:  # noqa: B006  (copied)
        return json_response(events.page(mailbox, clock, since, frozenset(kind), limit))

    return router


def history_routes(past: Past, clock: views.WallClock, mailbox: Mailbox) -> APIRouter:
    """What was: totals, and whole states."""
    router = api_router("state")

    @router.get("/history", responses=responds("History", "Columns."))
    async def history(window_s: Window = 300) -> Response:
        return json_response(past.totals(window_s, mailbox.clock(), clock))

    @router.get("/history/states", responses=responds("StateHistory", "Whole states, a minute of them or less."))
    async def states(at: Moment) -> Response:
        return json_response(past.states(at, clock))

    return router


def alarm_routes(mailbox: Mailbox, board: AlarmBoard, clock: views.WallClock) -> APIRouter:
    """What is wrong."""
    router = api_router("state")

    @router.get("/alarms", responses=responds("AlarmPage", "What is wrong now."))
    async def alarms() -> Response:
        return json_response(AlarmPage(board.messages(mailbox.clock(), clock)))

    return router


def command_routes(mailbox: Mailbox, commands: Commands, clock: views.WallClock) -> tuple[APIRouter, APIRouter]:
    """What changes something."""
    return _start_routes(mailbox, commands, clock), _correction_routes(commands)


def _correction_routes(commands: Commands) -> APIRouter:
    """What an operator sets who knows better."""
    router = api_router("corrections")

    async def correct(request: Request, corrected: Corrected) -> Response:
        made = await commands.correct(request, corrected)
        return json_response(CorrectionMade(made.corrected, made.before, made.after))

    made = responds("CorrectionMade", "It is so from now on.")

    @router.put("/wave", responses=made, openapi_extra=accepts("SetWave"))
    async def set_wave(request: Request) -> Response:
        return await correct(request, Corrected.WAVE)

    @router.put("/engine-count", responses=made, openapi_extra=accepts("SetEngineCount"))
    async def set_engine_count(request: Request) -> Response:
        return await correct(request, Corrected.ENGINE_COUNT)

    return router


def deployment_routes(others: Others) -> APIRouter:
    """Other coordinators."""
    router = api_router("state")

    @router.get("/deployments", responses=responds("DeploymentPage", "The coordinators that --peers names."))
    async def deployments() -> Response:
        return json_response(others.page())

    return router


def _start_routes(mailbox: Mailbox, commands: Commands, clock: views.WallClock) -> APIRouter:
    """Starting a wave by hand, and what came of it."""
    router = api_router("manual start")

    @router.post(
        "/waves",
        status_code=202,
        responses=responds("Action", "Asked for; Location tells where to watch it.", 202),
        openapi_extra=accepts("StartWave")
        | {"parameters": [{"in": "header", "name": "Idempotency-Key", "schema": {"type": "string", "maxLength": 200}}]},
    )
    async def start_wave(request: Request) -> Response:
        made = await commands.start(request)
        location = {"Location": f"actions/{made.id}"}  # relative: a proxy may show us under a path of its choice
        return json_response(views.action(made, mailbox.clock(), clock), 202, location)

    @router.get("/actions/{action_id}", responses=responds("Action", "As it stands."))
    async def action(action_id: Annotated[str, Path(max_length=100)]) -> Response:
        for made in reversed(mailbox.seen().actions):
            if made.id == action_id:
                return json_response(views.action(made, mailbox.clock(), clock))
        detail = f"no manual start {action_id!r} is held; only the newest are, and none from before a restart"
        raise ProblemError("not-found", detail)

    return router


def session_routes(sessions: Sessions, settings: WebSettings, turned_away: TurnedAway) -> APIRouter:
    """The page's own login."""
    router = api_router("session")

    def tell(identity: Identity, cookie: str | None = None, refused: str | None = None) -> Response:
        said = Session(sessions.token_required, identity.allowed, refused)
        return json_response(said, headers={} if cookie is None else {"Set-Cookie": cookie})

    @router.get("/session", responses=responds("Session", "Whether to log in."))
    async def session(request: Request) -> Response:
        return tell(request.scope[IDENTITY], refused=turned_away.stream_of(address_of(request.scope)))

    @router.post(
        "/login", responses=responds("Session", "Logged in; a cookie was set."), openapi_extra=accepts("Login")
    )
    async def login(request: Request) -> Response:
        body = await read_json(request, settings.body_timeout_s)
        given = decode(body, Login, '{"token": text}')
        if not COOKIE_PATH.fullmatch(given.path):
            raise ProblemError("invalid-body", "`path` must be that of a folder, such as / or /b/")
        client = address_of(request.scope)
        await sessions.logins.pause(client)
        try:
            made = sessions.login(given.token, client, f"{request.scope[PREFIX]}/" if given.path == "/" else given.path)
        except ProblemError:
            turned_away.add("token", client, f"a login brought a wrong token{unbelieved(request.scope)}")
            raise
        if made is None:
            return tell(Identity("open"))
        # A proxy that ends TLS leaves us to see http; the page's own origin tells what the browser sees.
        secure = request.url.scheme == "https" or request.headers.get("origin", "").lower().startswith("https://")
        return tell(Identity("session", made), sessions.set_cookie(made, secure=secure))

    @router.post("/logout", responses=responds("Session", "Logged out."))
    async def logout(request: Request) -> Response:
        identity: Identity = request.scope[IDENTITY]
        if identity.session is None:
            return tell(identity)
        return tell(NOBODY, sessions.logout(identity.session))

    return router


def operating_routes(mailbox: Mailbox, settings: WebSettings, metrics: Metrics) -> APIRouter:
    """For probes and Prometheus."""
    router = APIRouter(tags=["operating"])
    lives = responds("Health", "The loop turns.")

    async def livez(verbose: str | None = None) -> Response:
        return json_response(
            health.answer(health.live(mailbox, settings.loop_timeout_s), "not-alive", verbose=verbose is not None)
        )

    for path in ("/livez", "/healthz", "/health"):
        router.add_api_route(path, livez, responses=lives, name=path, include_in_schema=path == "/livez")

    @router.get("/readyz", responses=responds("Health", "Every engine subscribed, after a restart again."))
    async def readyz(verbose: str | None = None) -> Response:
        checks = health.ready(mailbox, settings.loop_timeout_s)
        kind = "not-ready" if checks[0].ok else "not-alive"
        return json_response(health.answer(checks, kind, verbose=verbose is not None))

    @router.get("/metrics", responses={200: {"description": "Prometheus text.", "content": {"text/plain": {}}}})
    async def scrape() -> Response:
        return Response(metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
