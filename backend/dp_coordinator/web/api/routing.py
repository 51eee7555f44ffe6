"""What every REST route shares: how it answers, how OpenAPI describes it, and that it takes known parameters only."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from dp_coordinator.web.problems import ProblemError

Described: TypeAlias = dict[int | str, dict[str, Any]]
PROBLEM: dict[str, Any] = {
    "description": "What was wrong.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_encoder = msgspec.json.Encoder(enc_hook=repr)


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer of messages.py, encoded by msgspec."""
    return Response(_encoder.encode(value), status, headers, "application/json")


def responds(type_: str, what: str, status: int = 200) -> Described:
    """How OpenAPI describes a route's responses; the schemas come from messages.py (schema.py)."""
    schema = {"$ref": f"#/components/schemas/{type_}"}
    return {status: {"description": what, "content": {"application/json": {"schema": schema}}}, "default": PROBLEM}


def accepts(type_: str) -> dict[str, Any]:
    """How OpenAPI describes what a route reads."""
    schema = {"$ref": f"#/components/schemas/{type_}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def api_router(tag: str) -> APIRouter:
    """Takes routes below /api/v1; each refuses query parameters that it has no argument for."""
    return APIRouter(prefix="/api/v1", tags=[tag], dependencies=[Depends(query_params)])


async def query_params(request: Request) -> None:
    """Refuse a query parameter that the route does not know: a misspelt one must not be ignored."""
    names = [known.alias for known in request.scope["route"].dependant.query_params]
    unknown = sorted(set(request.query_params) - set(names))
    if unknown:
        known = ", ".join(names) if names else "no parameters"
        raise ProblemError("invalid-parameter", f"unknown query parameter {unknown[0][:80]!r}; this takes {known}")
