"""Under which names the server may be addressed, and which pages may act on it.

A page elsewhere can make a browser send requests here. It cannot read the answers, but a start would be made and a
WebSocket would be opened; and with a name of its own that it points to this address (DNS rebinding) it could read too.
So the Host must be one that a stranger's page cannot have, and the Origin must be that Host.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from dp_coordinator.hosts import PORTS, allowed_host, allowed_origin, is_ip, split_host
from dp_coordinator.web.settings import WebSettings, is_loopback


def told_host(host: str) -> str:
    """What to do about a Host that is not known."""
    split = split_host(host)
    name = "NAME" if split is None else split[0]
    return (
        f"this server does not answer to the name {host[:200]!r}; use its address or localhost, or have the name "
        f"allowed with --allowed-host {name[:200]}"
    )


def told_origin(origin: str, host: str) -> str:
    """What to do about an Origin that is not ours."""
    said = f"a page from {origin[:200]!r} may not act on {host[:200]!r}; "
    theirs, ours = split_host(origin.partition("://")[2]), split_host(host)
    if theirs is not None and ours is not None and theirs[0] == ours[0]:
        return (
            f"{said}the ports differ: a proxy must pass the whole Host (nginx: `proxy_set_header Host $http_host`), "
            f"or have the page allowed with --allowed-origin {origin[:200]}"
        )
    return f"{said}open the coordinator's own page, or have that origin allowed with --allowed-origin"


class Hosts:
    """Decides over Host and Origin headers."""

    def __init__(self, settings: WebSettings) -> None:
        self._names = {settings.host.lower().strip("[]").rstrip("."), *map(allowed_host, settings.allowed_hosts)}
        self._origins = {allowed_origin(origin) for origin in settings.allowed_origins}
        if settings.public_url is not None:
            self._names.add(urlsplit(settings.public_url).hostname or "")
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
        if name in self._names or name == "localhost" or name.endswith(".localhost") or is_ip(name):
            return True
        return self._reachable and "." not in name

    def same_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may act on us: it was loaded from this very Host, or it is configured."""
        if origin.lower() in self._origins:
            return True
        scheme, separator, rest = origin.lower().partition("://")
        theirs, ours = split_host(rest), split_host(host)
        if not separator or scheme not in ("http", "https") or theirs is None or ours is None:
            return False
        default = PORTS[scheme]  # a proxy that ends TLS leaves us to see http: the page's scheme decides
        return (theirs[0], theirs[1] or default) == (ours[0], ours[1] or default)
