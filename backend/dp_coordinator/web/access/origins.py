"""Under which names the server may be addressed, and which pages may act on it.

A page elsewhere can make a browser send requests here. It cannot read the answers, but a start would be made and a
WebSocket would be opened; and with a name of its own that it points to this address (DNS rebinding) it could read too.
So the Host must be one that a stranger's page cannot have, and the Origin must be that Host.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from dp_coordinator.web.settings import ConfigurationError, WebSettings, is_loopback

_NAME = re.compile(r"[\w.-]+|[0-9a-f:.]+")
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


def allowed_host(text: str) -> str:
    """The name in what was given for --allowed-host: ports do not matter, a scheme is left out.

    Raises `ConfigurationError` for what no Host header could ever be.
    """
    scheme, separator, rest = text.strip().partition("://")
    given = rest.rstrip("/") if separator and scheme.lower() in _PORTS else text.strip()
    if ":" in given and "[" not in given and _is_address(given):
        given = f"[{given}]"
    split = split_host(given)
    if split is None or not _NAME.fullmatch(split[0]):
        raise ConfigurationError(
            f"{text!r} is no host name, such as dp.example.com; give each name in full, without wildcards or a path"
        )
    return split[0]


def allowed_origin(text: str) -> str:
    """What browsers send for the page that was given for --allowed-origin. Raises `ConfigurationError`."""
    scheme, separator, rest = text.strip().lower().partition("://")
    split = split_host(rest.rstrip("/"))
    if not separator or scheme not in ("http", "https") or split is None or not _NAME.fullmatch(split[0]):
        raise ConfigurationError(
            f"{text!r} is no origin: write the scheme, the name in full and the port, such as https://ops.example.com "
            "or http://ops.example.com:8000, without wildcards or a path"
        )
    name, port = split
    host = f"[{name}]" if ":" in name else name
    return f"{scheme}://{host}" if port in (None, _PORTS[scheme]) else f"{scheme}://{host}:{port}"


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
        if origin.lower() in self._origins:
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
