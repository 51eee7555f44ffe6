"""The last minutes as a file for `dp-coordinator replay` and `view`."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter
from starlette.responses import Response

from dp_coordinator.mailbox import Mailbox
from dp_coordinator.web.api.routing import PROBLEM, Described, api_router
from dp_coordinator.web.problems import ProblemError

CATCH_UP_S = 2.0
"""How long the newest seconds are waited for. A loop that is stuck has none to give, and what is at hand goes out."""
_SAYS: Described = {
    200: {"description": "A recording, at most 16 MiB.", "content": {"application/octet-stream": {}}},
    "default": PROBLEM | {"description": "What was wrong; 409 when nothing is recorded."},
}


def routes(mailbox: Mailbox) -> APIRouter:
    """`GET /api/v1/recording`."""
    router = api_router("state")

    @router.get("/recording", responses=_SAYS, response_class=Response)
    async def recording() -> Response:
        held = mailbox.recording
        if held is None:
            detail = "nothing is recorded: start the coordinator with --record DIR to have recordings"
            raise ProblemError("not-recording", detail)
        caught_up = asyncio.wrap_future(held.caught_up())
        mailbox.inbox.wake()
        await asyncio.wait({caught_up}, timeout=CATCH_UP_S)
        name = time.strftime("dp-coordinator-%Y%m%dT%H%M%SZ.dprec", time.gmtime())
        return Response(
            held.recent(),
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
            media_type="application/octet-stream",
        )

    return router
