"""`POST /api/v1/view`: pause, speed and place of a recording. There is no such route while everything is live."""

from __future__ import annotations

import math

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dp_coordinator.mailbox import Mailbox, Player
from dp_coordinator.requests import Play
from dp_coordinator.web import views
from dp_coordinator.web.api.bodies import decode, read_json
from dp_coordinator.web.api.routing import accepts, api_router, json_response, responds
from dp_coordinator.web.problems import ProblemError
from dp_coordinator.web.settings import WebSettings

SLOWEST, FASTEST = 0.1, 64.0
_EXPECTED = '{"speed": number or null, "paused": true, false or null, "at": seconds or null}'


def routes(mailbox: Mailbox, player: Player, settings: WebSettings) -> APIRouter:
    """The player's controls."""
    router = api_router("recording")

    @router.post("/view", responses=responds("Playback", "Where the recording is now."), openapi_extra=accepts("Play"))
    async def view(request: Request) -> Response:
        asked = decode(await read_json(request, settings.body_timeout_s), Play, _EXPECTED)
        _check(asked, player.position().duration_s)
        player.play(speed=asked.speed, paused=asked.paused, position_s=asked.at)
        return json_response(views.playback(mailbox))

    return router


def _check(asked: Play, duration_s: float) -> None:
    if asked.speed is not None and not SLOWEST <= asked.speed <= FASTEST:
        raise ProblemError("invalid-body", f"`speed` must be {SLOWEST:g} to {FASTEST:g}, not {asked.speed:g}")
    if asked.at is not None and not (math.isfinite(asked.at) and 0 <= asked.at <= duration_s + 1):
        raise ProblemError("invalid-body", f"`at` must be 0 to {duration_s:.3f} seconds, not {asked.at:g}")
