"""Under which names the server may be addressed, and which pages may act on it.

A page elsewhere can make a browser send requests here. It cannot read the answers, but a start would be made and a
WebSocket would be opened; and with a name of its own that it points to this address (DNS rebinding) it could read too.
So the Host must be one that a stranger's page cannot have, and the Origin must be that Host.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from dp_coordinator.web.settings import WebSettings, is_loopback

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def split_host(host: str) -> tuple[str, int | None] | None:
    """(name in lower case without brackets, port or None) of a Host header; None when it is not one."""
    if not host or any(c in host for c in "/\\@?# \t"):
        return None
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    return None if not name else (name.rstrip("."), port)


class Hosts:
    """Decides over Host and Origin headers."""

    def __init__(self, settings: WebSettings) -> None:
        self._names = {name.lower().strip("[]").rstrip(".") for name in (settings.host, *settings.allowed_hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in settings.allowed_origins}
        self._reachable = not is_loopback(settings.host)
        if self._reachable:
            self._names.add(socket.gethostname().lower())

    def known(self, host: str) -> bool:
        """Whether a stranger's page cannot have been loaded from this Host.

        Addresses are safe: a rebinding page has a name. So is localhost. Beyond loopback so are names without a dot
        (compose services, machines of the own network): nobody outside can own one.
        """
        split = split_host(host)
        if split is None:
            return False
        name, _ = split
        if name in self._names or name == "localhost" or name.endswith(".localhost") or _is_address(name):
            return True
        return self._reachable and "." not in name

    def same_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may act on us: it was loaded from this very Host, or it is configured."""
        if origin.lower().rstrip("/") in self._origins:
            return True
        scheme, separator, rest = origin.lower().partition("://")
        theirs, ours = split_host(rest), split_host(host)
        if not separator or scheme not in ("http", "https") or theirs is None or ours is None:
            return False
        default = _PORTS[scheme]  # a proxy that ends TLS leaves us to see http: the page's scheme decides
        return (theirs[0], theirs[1] or default) == (ours[0], ours[1] or default)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
