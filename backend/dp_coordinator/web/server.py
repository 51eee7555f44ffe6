"""uvicorn, set up for this application, and stopping in an order that lets viewers know."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from dp_coordinator.web.app import Application
from dp_coordinator.web.connections import Connections

_SAYS_LITTLE = 64 * 1024
"""Bytes: viewers have nothing to say, so what they may say at once is small."""


class WebServer(uvicorn.Server):
    """uvicorn would close WebSockets as it stops, as if it came back; ours are told that it goes away (1001)."""

    def __init__(self, app: Application, **more: Any) -> None:
        """`more` goes to `uvicorn.Config`."""
        self._broadcaster, self._loads = app.state.broadcaster, app.state.loads
        settings = self._broadcaster.settings
        defaults: dict[str, Any] = {
            "log_config": None,
            "log_level": "warning",
            "access_log": False,
            "server_header": False,
            "proxy_headers": False,  # callers are in the event log: nobody may choose the address shown there
            "timeout_graceful_shutdown": 2,
            "loop": "asyncio",
            **Connections(app.state.turned_away, settings.max_viewers, settings.max_connections).protocols(),
            "ws_max_size": _SAYS_LITTLE,
            "ws_per_message_deflate": False,  # uvicorn's would compress anew for every viewer; ours: stream/frames.py
        }
        super().__init__(uvicorn.Config(app, **(defaults | more)))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, with answers that do not wait for the peer's acknowledgement of the one before."""
        for listener in sockets or ():
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits this
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the viewers, then do what uvicorn does."""
        await self._broadcaster.stop()
        await self._loads.stop()
        await super().shutdown(sockets)
