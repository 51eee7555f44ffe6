"""Who really asks, when a proxy stands between: the X-Forwarded-* headers of peers that were named as trusted.

Anybody can send these headers, so they count only from a trusted peer. Each proxy appends the address that it saw to
X-Forwarded-For: the client is the right-most one that is no trusted proxy, for what stands left of it that client may
have written itself. The other headers are taken as the nearest proxy set them: the right-most value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

from starlette.datastructures import Headers
from starlette.types import Scope

from dp_coordinator.hosts import Address, address, network

PREFIX = "dp_coordinator.prefix"
"""Where a scope holds the path under which a trusted proxy shows us; "" when it said nothing."""
FORWARDED = "dp_coordinator.forwarded"
"""Set in the scope of a request that brought X-Forwarded-For from a peer that is not trusted."""
_PREFIX = re.compile(r"(/([A-Za-z0-9._~!$&'()*+;=:@-]|%[0-9A-Fa-f]{2})+)+")
_PREFIX_AT_MOST = 200


class TrustedProxies:
    """Corrects a request's scope by what trusted proxies say."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """Addresses and CIDR blocks. Raises `ValueError`."""
        self._networks = [network(text) for text in networks]

    def trusts(self, peer: Address | None) -> bool:
        """Whether a peer is one of them."""
        return peer is not None and any(peer in each for each in self._networks)

    def correct(self, scope: Scope) -> None:
        """Make client, scheme, host and path of an HTTP or WebSocket scope those that the client saw."""
        scope[PREFIX] = ""
        client = scope.get("client")
        peer = address(client[0]) if client else None
        if client is None or peer is None:
            return
        scope["client"] = (str(peer), client[1])
        headers = Headers(scope=scope)
        if not self.trusts(peer):
            scope[FORWARDED] = headers.get("x-forwarded-for")
            return
        scope["client"] = (str(self._client(peer, headers)), 0)
        scheme = _nearest(headers, "x-forwarded-proto").lower()
        if scheme in ("http", "https", "ws", "wss"):
            plain = "ws" if scope["type"] == "websocket" else "http"
            scope["scheme"] = plain + ("s" if scheme.endswith("s") else "")
        if host := _nearest(headers, "x-forwarded-host"):
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [(b"host", host.encode("latin-1")), *others]
        if scope["path"].startswith("//"):  # nginx: `location /b` with `proxy_pass http://host/`
            _set_path(scope, "/" + scope["path"].lstrip("/"))
        _take_prefix(scope, _nearest(headers, "x-forwarded-prefix"))

    def _client(self, peer: Address, headers: Headers) -> Address:
        hops = ",".join(headers.getlist("x-forwarded-for")).split(",")
        for hop in reversed(hops):
            found = address(hop)
            if found is None:
                break
            peer = found
            if not self.trusts(peer):
                break
        return peer


def _nearest(headers: Headers, name: str) -> str:
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()


def _take_prefix(scope: Scope, prefix: str) -> None:
    """Take the prefix off the path, unless the proxy has done so."""
    prefix = prefix.rstrip("/")
    if len(prefix) > _PREFIX_AT_MOST or not _PREFIX.fullmatch(prefix):
        return
    scope[PREFIX] = prefix
    path, plain = scope["path"], unquote(prefix)
    if path == plain or path.startswith(f"{plain}/"):
        _set_path(scope, path.removeprefix(plain) or "/")


def _set_path(scope: Scope, path: str) -> None:
    scope["path"], scope["raw_path"] = path, quote(path).encode()
