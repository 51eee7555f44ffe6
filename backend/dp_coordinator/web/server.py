"""uvicorn, set up for this application, and stopping in an order that lets viewers know."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
import uvicorn.config

from dp_coordinator.web.app import Application

_SAYS_LITTLE = 64 * 1024
"""Bytes: viewers have nothing to say, so what they may say at once is small."""
_SPARE_CONNECTIONS = 256
"""For REST and the page, beside the viewers."""


class WebServer(uvicorn.Server):
    """uvicorn would close WebSockets as it stops, as if it came back; ours are told that it goes away (1001)."""

    def __init__(self, app: Application, *, max_viewers: int = 2000, **more: Any) -> None:
        """`more` goes to `uvicorn.Config`."""
        self._hub = app.state.hub
        defaults: dict[str, Any] = {
            "log_config": None,
            "log_level": "warning",
            "access_log": False,
            "server_header": False,
            "proxy_headers": False,  # callers are in the event log: nobody may choose the address shown there
            "limit_concurrency": max_viewers + _SPARE_CONNECTIONS,
            "timeout_graceful_shutdown": 2,
            "ws": "websockets-sansio" if "websockets-sansio" in uvicorn.config.WS_PROTOCOLS else "websockets",
            "ws_max_size": _SAYS_LITTLE,
            "ws_per_message_deflate": False,  # it would compress the same bytes anew for every viewer
        }
        super().__init__(uvicorn.Config(app, **(defaults | more)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the viewers, then do what uvicorn does."""
        await self._hub.stop()
        await super().shutdown(sockets)
