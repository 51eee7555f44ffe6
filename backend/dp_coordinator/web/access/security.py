"""The gate in front of everything: Host, Origin, token, body size, response headers. Plain ASGI, HTTP and WebSocket.

Order of the questions: may the server be called by this name; may this page act here; who is asking. Only the page's
own files, the health checks, the API's description and the login itself are answered without a token where one is set.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dp_coordinator.hosts import allowed_origin, neighbourhood
from dp_coordinator.limits import Places
from dp_coordinator.web.access.origins import Hosts, told_host, told_origin
from dp_coordinator.web.access.proxies import FORWARDED, TrustedProxies
from dp_coordinator.web.access.refusals import RefusalLog
from dp_coordinator.web.access.sessions import NOBODY, Identity, Sessions
from dp_coordinator.web.access.turned_away import TurnedAway
from dp_coordinator.web.access.turns import Turns
from dp_coordinator.web.pages import FIRST_HASH
from dp_coordinator.web.problems import ProblemError, refuse_websocket, response
from dp_coordinator.web.settings import WebSettings

log = logging.getLogger("dp_coordinator.web")

HEALTH_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/health"})
OPEN_API_PATHS = frozenset({"/api/v1/session", "/api/v1/login", "/api/v1/logout"})
COMMANDS = {
    ("POST", "/api/v1/waves"): "manual_start_refused",
    ("PUT", "/api/v1/wave"): "correction_refused",
    ("PUT", "/api/v1/engine-count"): "correction_refused",
}
"""What changes something -> how the event log calls an attempt that was refused."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CSP = (
    f"default-src 'none'; script-src 'self' {FIRST_HASH}; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors "
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_COUNTED = {"bad-host": "host", "bad-origin": "origin", "too-many-viewers": "connections"}
"""Problem -> kind of `TurnedAway`."""
IDENTITY = "dp_coordinator.identity"
"""Where a request's scope holds who is asking."""
HEAD = "dp_coordinator.head"
"""In the scope of a request for the head alone, which routes see as GET."""


def address_of(scope: Scope) -> str:
    """The address that a request came from."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def caller_of(scope: Scope) -> str:
    """Who made a request, for the event log: the address, and how it proved itself if it had to."""
    identity: Identity = scope.get(IDENTITY, NOBODY)
    how = {"token": " with the token", "session": " logged in", "open": ""}
    return address_of(scope) + how.get(identity.how, " without a token")


class Gate:
    """ASGI middleware; answers what may not pass, and marks what passes with who is asking."""

    def __init__(
        self, app: ASGIApp, *, settings: WebSettings, sessions: Sessions, refusals: RefusalLog, turned_away: TurnedAway
    ) -> None:
        self._app = app
        self._hosts = Hosts(settings)
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self._sessions = sessions
        self._refusals = refusals
        self._turned_away = turned_away
        self._headers = headers_for(settings.allow_frames)
        self._turns = Turns()
        self._viewers = Places(settings.viewers_per_client)
        self._max_body = settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        self._proxies.correct(scope)
        sender = _with_headers(send, self._headers)
        if scope["path"] not in HEALTH_PATHS:
            await self._turns.take(neighbourhood(address_of(scope)))
        try:
            await self._check(scope, Headers(scope=scope))
        except ProblemError as problem:
            await self._refuse(problem, scope, receive, sender)
            return
        if scope["type"] == "http":
            await self._http(scope, _limited(receive, self._max_body), sender)
        else:
            await self._websocket(scope, receive, sender)

    async def _check(self, scope: Scope, headers: Headers) -> None:
        path, host = scope["path"], headers.get("host", "")
        identity = scope[IDENTITY] = self._sessions.identify(headers)
        if identity.how == "wrong" and path not in HEALTH_PATHS:
            await self._wrong_token(scope)
        if path not in HEALTH_PATHS and not self._hosts.known(host):
            raise ProblemError("bad-host", told_host(host))
        origin = headers.get("origin")
        acts = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        if acts and origin is not None and not self._hosts.same_origin(origin, host):
            raise ProblemError("bad-origin", told_origin(origin, host))
        protected = scope["type"] == "websocket" or path == "/metrics" or path.startswith("/api/")
        if protected and path not in OPEN_API_PATHS and not identity.allowed:
            raise ProblemError(
                "unauthorized",
                "this needs the coordinator's token: send `Authorization: Bearer TOKEN`, or log in on the page",
                headers={"WWW-Authenticate": "Bearer"},
            )
        length = headers.get("content-length", "0")
        if scope["type"] == "http" and length.isdecimal() and int(length[:20]) > self._max_body:
            raise _too_large(self._max_body)

    async def _wrong_token(self, scope: Scope) -> None:
        """Slow down who guesses, also where no token is needed: what is answered there tells whether it is right."""
        client = address_of(scope)
        self._turned_away.add("token", client, f"a wrong token came with a request{unbelieved(scope)}")
        await self._sessions.bearers.pause(client)
        self._sessions.bearers.failed(client)

    async def _refuse(self, problem: ProblemError, scope: Scope, receive: Receive, send: Send) -> None:
        stream = scope["type"] == "websocket"
        if problem.kind in _COUNTED:
            self._turned_away.add(_COUNTED[problem.kind], address_of(scope), problem.detail, stream=stream)
        refused = None if stream else COMMANDS.get((scope["method"], scope["path"]))
        if refused is not None:
            self._refusals.add(problem.kind, problem.detail, reason=None, caller=caller_of(scope), kind=refused)
        if stream:
            await refuse_websocket(problem, scope, receive, send)
        else:
            await response(problem, scope["path"])(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = neighbourhood(address_of(scope))
        if not self._viewers.take(client):
            detail = f"{self._viewers.each} viewers of this address are connected, and no more are taken"
            await self._refuse(ProblemError("too-many-viewers", detail), scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._viewers.give_back(client)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        if scope["method"] == "HEAD":  # uvicorn leaves the body out by itself
            scope = {**scope, "method": "GET", HEAD: True}
        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return
        except Exception:
            if started:
                raise
            log.exception("%s %s met a defect in dp-coordinator; please report it", scope["method"], scope["path"])
            detail = "this request met a defect in dp-coordinator; its log says more"
            await response(ProblemError("internal", detail), scope["path"])(scope, receive, watched)


def unbelieved(scope: Scope) -> str:
    """A hint for the log when a client may stand behind a proxy that nobody named."""
    if scope.get(FORWARDED) is not None:
        return "; it has passed through a proxy, which --trusted-proxy lets tell for whom it speaks"
    return ""


def _too_large(limit: int) -> ProblemError:
    return ProblemError("too-large", f"the body must be at most {limit} bytes")


def _limited(receive: Receive, limit: int) -> Receive:
    """`receive`, ending in a problem once the body exceeds its bound, whatever Content-Length said."""
    taken = 0

    async def receive_some() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise _too_large(limit)
        return message

    return receive_some


def headers_for(frames: Sequence[str]) -> dict[str, str]:
    """What keeps browsers from doing more than they must; pages of the origins in `frames` may show ours in a frame."""
    if not frames:
        return _HEADERS | {"content-security-policy": f"{_CSP}'none'", "x-frame-options": "DENY"}
    origins = " ".join(map(allowed_origin, frames))
    return _HEADERS | {"content-security-policy": _CSP + origins}  # X-Frame-Options has no word for that


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """`send`, adding headers to every response."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            made = MutableHeaders(scope=message)
            for name, value in headers.items():
                made[name] = value
            made.setdefault("cache-control", "no-store")
        await send(message)

    return send_with_headers
