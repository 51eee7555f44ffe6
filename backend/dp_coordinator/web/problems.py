"""Errors as RFC 9457 problem details: what was wrong, and what would be right."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dp_coordinator.texts import A_LINE, shown

MEDIA_TYPE = "application/problem+json"

KINDS: dict[str, tuple[int, str]] = {
    "invalid-parameter": (422, "A parameter is not acceptable"),
    "invalid-body": (422, "The body is not acceptable"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "This method does not work here"),
    "unauthorized": (401, "A token is needed"),
    "bad-origin": (403, "This page may not do that"),
    "bad-host": (421, "The server is not known under this name"),
    "too-large": (413, "The body is too large"),
    "too-slow": (408, "The body did not arrive in time"),
    "not-json": (415, "The body must be JSON"),
    "too-many-attempts": (429, "Too many attempts"),
    "too-many-viewers": (429, "Too many viewers"),
    "upgrade-required": (426, "This is a WebSocket"),
    "inbox-full": (503, "Too many commands are waiting"),
    "no-answer": (503, "The coordinator's loop did not answer"),
    "not-alive": (503, "The coordinator's loop does not turn"),
    "not-ready": (503, "The coordinator is not ready"),
    "internal": (500, "Something went wrong inside"),
    "recording": (409, "This is a recording"),
    "not-recording": (409, "Nothing is recorded"),
    # refusals of a manual start, named as in the event log
    "running": (409, "A wave is running"),
    "pending": (409, "Another manual start is being watched"),
    "wave_mismatch": (409, "The current wave is another one"),
    "not_ready": (409, "Engines are missing"),
    "coordination_off": (409, "Wave coordination is off"),
    "wave_invalid": (422, "That wave cannot be started"),
    "key_reused": (422, "This Idempotency-Key belongs to another request"),
}
"""Slug -> (status, title)."""


class ProblemError(Exception):
    """Ends a request with a problem; `kind` is a slug of `KINDS`, `more` are extension members."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = shown(detail, A_LINE)  # it may quote what was sent
        self.headers = headers
        self.more = more or {}

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind][0]


def response(error: ProblemError, path: str) -> Response:
    """The response that tells of a problem met at `path`.

    Its addresses are relative to that path: whatever proxies have put before it, they lead back to us.
    """
    status, title = KINDS[error.kind]
    kind = "../" * (path.count("/") - 1) + f"problems/{error.kind}"
    body = {"type": kind, "title": title, "status": status, "detail": error.detail}
    return _encoded(body | {"instance": _itself(path)} | dict(error.more), status, error.headers)


def _itself(path: str) -> str:
    return f"./{quote(path.rpartition('/')[2])}"


async def refuse_websocket(error: ProblemError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a WebSocket's handshake with a problem instead of accepting it."""
    await response(error, scope["path"])(scope, receive, send)
    # uvicorn takes a handler that returns before the connection was let go for one that forgot to answer, and logs so.
    await asyncio.sleep(0)


def http_error(status: int, detail: str, path: str, headers: Mapping[str, str] | None) -> Response:
    """A problem for a status that the framework chose."""
    kind = {404: "not-found", 405: "method-not-allowed"}.get(status)
    if kind is not None:
        return response(ProblemError(kind, detail, headers=headers), path)
    title = HTTPStatus(status).phrase
    return _encoded(
        {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": _itself(path)},
        status,
        headers,
    )


def _encoded(body: Mapping[str, object], status: int, headers: Mapping[str, str] | None) -> Response:
    return Response(msgspec.json.encode(body), status, dict(headers or {}), MEDIA_TYPE)


def of_validation(error: RequestValidationError) -> ProblemError:
    """What was wrong with path, query or header parameters, one clause for each."""
    return ProblemError("invalid-parameter", "; ".join(_clause(found) for found in error.errors()[:10]))


def _clause(found: Mapping[str, Any]) -> str:
    where, *path = [str(part) for part in found["loc"]]
    said = str(found["msg"])
    given = found.get("input")
    shown = f", not {str(given)[:80]!r}" if isinstance(given, str | int | float) else ""
    return f"{where} parameter {'.'.join(path)!r}: {said[:1].lower()}{said[1:]}{shown}"
