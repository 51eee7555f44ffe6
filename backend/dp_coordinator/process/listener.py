"""The page's address: bound before the web layer starts, which is told where."""

from __future__ import annotations

import logging

from dp_coordinator import listening
from dp_coordinator.addresses import bound_address
from dp_coordinator.descriptors import Listener
from dp_coordinator.options import AccessOptions, RouterOptions
from dp_coordinator.settings import SettingsError, shared
from dp_coordinator.transport import BindError
from dp_coordinator.values import BadValueError, token_in
from dp_coordinator.web.settings import WebSettings, check_exposure

log = logging.getLogger("dp_coordinator")

PAGE_CONNECTIONS = WebSettings.max_connections + 160
"""At a time, when there are open files enough: the web layer's, and newcomers for which it makes room."""


AGENT_CONNECTIONS = WebSettings.agent_connections + 16
"""At a time, with newcomers."""


def listen(address: str, before: str | None = None, most: int = PAGE_CONNECTIONS) -> Listener:
    """The page's listening socket. Raises `BindError` in words: uvicorn would end the process instead.

    `before`: where an earlier incarnation was, if it was asked for the same address. `most`: connections at a time.
    """
    try:
        return Listener(listening.listen(address, before), most)
    except listening.TakenError as error:
        raise BindError(f"cannot bind --http {address}: {error.strerror}") from None


def listen_agent(options: RouterOptions) -> Listener | None:
    """The socket for HAProxy's agent checks, if there is to be one. Raises `BindError` in words."""
    if options.haproxy_agent is None:
        return None
    try:
        listener = Listener(listening.listen(options.haproxy_agent), AGENT_CONNECTIONS)
    except listening.TakenError as error:
        raise BindError(f"cannot bind --haproxy-agent {options.haproxy_agent}: {error.strerror}") from None
    log.info("HAProxy's agent checks are answered at %s", bound_address(listener))
    return listener


def web_settings(options: AccessOptions, listener: Listener) -> WebSettings:
    """What the web layer is told: of these options all that is its own. Raises `SettingsError` if they expose it."""
    host, port = listener.getsockname()[:2]
    told = shared(options, WebSettings) | {"host": host, "port": port, "token": _token(options)}
    # Whoever is accepted beyond that has the one that was silent for longest give way, which takes a moment.
    newcomers = max(1, listener.most // 16)
    settings = WebSettings(**told, max_connections=min(WebSettings.max_connections, listener.most - newcomers))
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
