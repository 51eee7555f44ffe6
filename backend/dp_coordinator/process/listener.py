"""The page's address: bound before the web layer starts, which is told where."""

from __future__ import annotations

import socket

from dp_coordinator import listening
from dp_coordinator.options import AccessOptions
from dp_coordinator.settings import SettingsError, shared
from dp_coordinator.transport import BindError
from dp_coordinator.values import BadValueError, token_in
from dp_coordinator.web.settings import WebSettings, check_exposure


def listen(address: str, before: str | None = None) -> socket.socket:
    """The page's listening socket. Raises `BindError` in words: uvicorn would end the process instead.

    `before`: where an earlier incarnation was, if it was asked for the same address.
    """
    try:
        return listening.listen(address, before)
    except listening.TakenError as error:
        raise BindError(f"cannot bind --http {address}: {error.strerror}") from None


def web_settings(options: AccessOptions, listener: socket.socket) -> WebSettings:
    """What the web layer is told: of these options all that is its own. Raises `SettingsError` if they expose it."""
    host, port = listener.getsockname()[:2]
    settings = WebSettings(**shared(options, WebSettings) | {"host": host, "port": port, "token": _token(options)})
    check_exposure(settings)
    return settings


def _token(options: AccessOptions) -> str | None:
    """The token from its file, which goes before the one in a variable."""
    if options.token_file is None:
        return options.token
    try:
        return token_in(options.token_file)
    except BadValueError as error:
        raise SettingsError(f"--token-file: {error}") from None
