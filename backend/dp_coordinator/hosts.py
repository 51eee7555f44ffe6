"""Names, addresses and ports of hosts, as people and browsers write them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from dp_coordinator.values import BadValueError, Kind, parse_host_port

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
SCRAPE_PORTS = 1024
"""Ports in one range of API servers, at most."""
_NAME = re.compile(r"[\w.-]+|[0-9a-f:.]+", re.ASCII)
_RANGE = re.compile(r"(.+:\d{1,5})-(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """A host with one port or a range of them. Port 0 lets the system choose."""

    host: str
    port: int
    last_port: int

    @classmethod
    def parse(cls, text: str) -> HttpAddress:
        """HOST:PORT, [V6]:PORT or HOST:FIRST-LAST. Raises `BadValueError`."""
        match = _RANGE.fullmatch(text)
        host, port = parse_host_port(text if match is None else match[1])
        last_port = port if match is None else int(match[2])
        if match is not None and not 0 < port < last_port <= 65_535:
            raise BadValueError(f"{text!r} is not HOST:PORT with a range of ports, such as 127.0.0.1:8080-8099")
        return cls(host, port, last_port)

    @property
    def everywhere(self) -> bool:
        """Whether it means every address of this machine."""
        return self.host in ("0.0.0.0", "::")

    @property
    def chosen(self) -> bool:
        """Whether it is one address, which somebody wants and no other."""
        return self.port == self.last_port

    def without(self, port: int) -> HttpAddress | None:
        """The same without a port that somebody else needs; None when none is left."""
        if not self.port <= port <= self.last_port or self.port == 0:
            return self
        if port > self.port:
            return replace(self, last_port=port - 1)
        return None if self.chosen else replace(self, port=port + 1)

    def __str__(self) -> str:
        ports = str(self.port) if self.chosen else f"{self.port}-{self.last_port}"
        return f"[{self.host}]:{ports}" if ":" in self.host else f"{self.host}:{ports}"


@dataclass(frozen=True, slots=True)
class ScrapeUrl:
    """API servers to be asked: one host, with one port or a range of them."""

    scheme: str
    address: HttpAddress

    @classmethod
    def parse(cls, text: str) -> ScrapeUrl:
        """http(s)://HOST:PORT or http(s)://HOST:FIRST-LAST. Raises `BadValueError`."""
        scheme, separator, rest = text.strip().rstrip("/").partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            raise BadValueError(
                f"{text!r} is no API server: write http://HOST:PORT, such as http://127.0.0.1:8000-8007"
            )
        if "@" in rest:
            raise BadValueError("a secret never goes into an address: give it with --scrape-token-file")
        try:
            address = HttpAddress.parse(rest)
        except BadValueError:
            address = HttpAddress("", 0, 0)
        if not address.port or not _NAME.fullmatch(address.host) or address.last_port - address.port >= SCRAPE_PORTS:
            raise BadValueError(
                f"{text!r} is no API server: write http://HOST:PORT without a path, or a range of at most "
                f"{SCRAPE_PORTS} ports, such as http://127.0.0.1:8000-8007"
            )
        return cls(scheme.lower(), address)

    def origins(self) -> list[tuple[str, str, int]]:
        """(scheme, host, port) of each."""
        ports = range(self.address.port, self.address.last_port + 1)
        return [(self.scheme, self.address.host, port) for port in ports]


def url(scheme: str, host: str, port: int) -> str:
    """The address of a web server."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def scrape_url(text: str) -> str:
    """An address or a range of them. The text as it is."""
    ScrapeUrl.parse(text)
    return text


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


def is_ip(name: str) -> bool:
    """Whether a host is named by its address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def address(text: str) -> Address | None:
    """An address without port or brackets, as IPv4 where it is that; None when it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)  # a socket of [::] shows IPv4 peers so
    return mapped or found


@lru_cache(maxsize=1024)
def neighbourhood(client: str) -> str:
    """What is counted as one client: an IPv4 address, or the 64 bits of IPv6 that one household is given."""
    found = address(client)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return client if found is None else str(found)


def allowed_host(text: str) -> str:
    """The name in what was given for --allowed-host: ports do not matter, a scheme is left out.

    Raises `BadValueError` for what no Host header could ever be.
    """
    scheme, separator, rest = text.strip().partition("://")
    given = rest.rstrip("/") if separator and scheme.lower() in PORTS else text.strip()
    if ":" in given and "[" not in given and is_ip(given):
        given = f"[{given}]"
    split = split_host(given)
    if split is None or not _NAME.fullmatch(split[0]):
        raise BadValueError(
            f"{text!r} is no host name, such as dp.example.com; give each name in full, without wildcards or a path"
        )
    return split[0]


def allowed_origin(text: str) -> str:
    """What browsers send for the page that was given for --allowed-origin. Raises `BadValueError`."""
    scheme, separator, rest = text.strip().lower().partition("://")
    split = split_host(rest.rstrip("/"))
    if not separator or scheme not in ("http", "https") or split is None or not _NAME.fullmatch(split[0]):
        raise BadValueError(
            f"{text!r} is no origin: write the scheme, the name in full and the port, such as https://ops.example.com "
            "or http://ops.example.com:8000, without wildcards or a path"
        )
    name, port = split
    host = f"[{name}]" if ":" in name else name
    return f"{scheme}://{host}" if port in (None, PORTS[scheme]) else f"{scheme}://{host}:{port}"


def network(text: str) -> Network:
    """A CIDR block, or one address. Raises `BadValueError`."""
    try:
        return ipaddress.ip_network(text.strip().strip("[]"), strict=False)
    except ValueError:
        raise BadValueError(f"{text!r} is no address or CIDR block, such as 10.0.0.7 or 10.0.0.0/8") from None


def http_address(text: str) -> str:
    """`HOST:PORT`, or `HOST:FIRST-LAST` for the first port that is free. The text as it is."""
    HttpAddress.parse(text)
    return text


def network_address(text: str) -> str:
    """An address or a CIDR block."""
    return str(network(text))


HostName: TypeAlias = Annotated[str, Kind(allowed_host, "HOST", allowed_host)]
Origin: TypeAlias = Annotated[str, Kind(allowed_origin, "ORIGIN", allowed_origin)]
HttpPorts: TypeAlias = Annotated[str, Kind(http_address, "HOST:PORT", http_address)]
NetworkAddress: TypeAlias = Annotated[str, Kind(network_address, "CIDR", network_address)]
ScrapeTarget: TypeAlias = Annotated[str, Kind(scrape_url, "URL", scrape_url)]
