"""The page's address: bound before the web layer starts, which is told where."""

from __future__ import annotations

import socket

from dp_coordinator import addresses
from dp_coordinator.options import AccessOptions
from dp_coordinator.settings import shared
from dp_coordinator.transport import BindError
from dp_coordinator.web.settings import WebSettings, check_exposure

BACKLOG = 2048


def listen(address: str) -> socket.socket:
    """The page's listening socket. Raises `BindError` in words: uvicorn would end the process instead."""
    try:
        return addresses.listen(address, BACKLOG)
    except OSError as error:
        raise BindError(f"cannot bind --http {address}: {error.strerror or error}") from None


def web_settings(options: AccessOptions, listener: socket.socket) -> WebSettings:
    """What the web layer is told: of these options all that is its own. Raises `SettingsError` if they expose it."""
    host, port = listener.getsockname()[:2]
    settings = WebSettings(host=host, port=port, **shared(options, WebSettings))
    check_exposure(settings)
    return settings
