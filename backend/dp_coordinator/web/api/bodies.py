"""Request bodies: small JSON objects, from anyone."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from starlette.requests import Request

from dp_coordinator.web.problems import ProblemError

T = TypeVar("T")


async def read_json(request: Request, within: float) -> bytes:
    """The body of a request that must be JSON. Raises `ProblemError` for another content type or one too slow."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Forms and plain text are what a page elsewhere can send without asking first.
        raise ProblemError("not-json", f"send Content-Type: application/json, not {kind[:100] or 'none'!r}")
    try:
        async with asyncio.timeout(within):
            return await request.body()
    except TimeoutError:
        raise ProblemError("too-slow", f"the whole body must arrive within {within:g} s") from None


def decode(body: bytes, as_type: type[T], expected: str) -> T:
    """A body as a message. Raises `ProblemError` that says what is wrong and ends with what was `expected`."""
    try:
        return msgspec.json.decode(body, type=as_type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is a DecodeError
        raise ProblemError("invalid-body", f"{error}; expected {expected}") from None
    except RecursionError:
        raise ProblemError("invalid-body", f"nested too deeply; expected {expected}") from None
