"""Load where routers can use it: by REST and server-sent events, for HAProxy, for llm-d, and as metrics."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from fastapi import APIRouter
from prometheus_client.metrics_core import Metric
from starlette.responses import Response

from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages_loads import LoadPage
from dp_coordinator.web.access.sessions import Sessions
from dp_coordinator.web.alarms import AlarmBoard
from dp_coordinator.web.api.routing import PROBLEM, Described, api_router, json_response, responds
from dp_coordinator.web.routers import gauges
from dp_coordinator.web.routers.haproxy import HaproxyAgent
from dp_coordinator.web.routers.llm_d import LlmDEndpoints
from dp_coordinator.web.routers.loads import LoadBoard
from dp_coordinator.web.routers.stream import Events, LoadStream
from dp_coordinator.web.routers.weights import Advice
from dp_coordinator.web.settings import WebSettings

_SAYS: Described = {
    200: {"description": "Events, each of which is a `LoadPage`.", "content": {"text/event-stream": {}}},
    "default": PROBLEM,
}


class Routers:
    """All that routers are told. Belongs to the web thread."""

    def __init__(
        self,
        mailbox: Mailbox,
        alarms: AlarmBoard,
        settings: WebSettings,
        sessions: Sessions,
        agent: socket.socket | None,
    ) -> None:
        """`agent` listens for HAProxy's agent checks."""
        self._board = LoadBoard(mailbox, alarms)
        self.stream = LoadStream(mailbox, self._board, settings, sessions)
        self._agent = None if agent is None else HaproxyAgent(agent, self._advice, settings.agent_connections)
        self._file = None if settings.llm_d_endpoints is None else LlmDEndpoints(settings.llm_d_endpoints)
        self._model = settings.vllm_gauges

    def _advice(self) -> list[Advice] | None:
        return self._board.advice() if self._board.knows else None

    async def run(self) -> None:
        """Answer, and tell those who listen, until cancelled."""
        if self._agent is not None:
            await self._agent.start()
        try:
            await self.stream.run()
        finally:
            if self._agent is not None:
                self._agent.stop()
            await self.stream.stop()

    def tick(self, now: float) -> None:
        """Keep the file for llm-d as the ranks are. `now` is the real monotonic clock."""
        if self._file is not None and self._file.due(now):
            self._file.update(self._board.loads(), self._board.advice(), now)

    def gauges(self) -> Iterator[Metric]:
        """Load under the names by which routers know it."""
        loads = self._board.loads()
        yield from gauges.averages(loads, self._board.advice())
        if self._model is not None:
            yield from gauges.of_vllm(loads, self._model)
        if self._agent is not None:
            yield from self._agent.gauges()

    def routes(self) -> APIRouter:
        """`GET /api/v1/loads`, and the stream of it."""
        router = api_router("routers")

        @router.get("/loads", responses=responds("LoadPage", "How loaded each rank is."))
        async def loads() -> Response:
            return json_response(LoadPage(self._board.loads()))

        @router.get("/loads/stream", responses=_SAYS, response_class=Response)
        async def stream() -> Response:
            return Events(self.stream)

        return router
