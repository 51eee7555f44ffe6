"""Addresses as people and browsers write them: read, bound and written."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TypeAlias
from urllib.parse import urlsplit

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_NAME = re.compile(r"[\w.-]+|[0-9a-f:.]+", re.ASCII)
_HOST_PORT = re.compile(r"(?:\[([^\[\]/\s]+)\]|([^\[\]/\s:]+)):(\d{1,5})", re.ASCII)


def parse_host_port(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:8080` for IPv6, as (host, port). Raises `ValueError` saying what would be right."""
    match = _HOST_PORT.fullmatch(text)
    if match is None or not is_port(match[3]):
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    return match[1] or match[2], int(match[3])


def is_port(digits: str) -> bool:
    """Whether TCP has such a port; 0 stands for a free one."""
    return int(digits) <= 65_535


def listen(address: str, backlog: int) -> socket.socket:
    """A listening socket at HOST:PORT. Raises `ValueError` for another text and `OSError` when it cannot be bound."""
    host, port = parse_host_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=backlog)


def bound_address(listener: socket.socket) -> str:
    """Where it listens, as HOST:PORT."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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


def allowed_host(text: str) -> str:
    """The name in what was given for --allowed-host: ports do not matter, a scheme is left out.

    Raises `ValueError` for what no Host header could ever be.
    """
    scheme, separator, rest = text.strip().partition("://")
    given = rest.rstrip("/") if separator and scheme.lower() in PORTS else text.strip()
    if ":" in given and "[" not in given and is_ip(given):
        given = f"[{given}]"
    split = split_host(given)
    if split is None or not _NAME.fullmatch(split[0]):
        raise ValueError(
            f"{text!r} is no host name, such as dp.example.com; give each name in full, without wildcards or a path"
        )
    return split[0]


def allowed_origin(text: str) -> str:
    """What browsers send for the page that was given for --allowed-origin. Raises `ValueError`."""
    scheme, separator, rest = text.strip().lower().partition("://")
    split = split_host(rest.rstrip("/"))
    if not separator or scheme not in ("http", "https") or split is None or not _NAME.fullmatch(split[0]):
        raise ValueError(
            f"{text!r} is no origin: write the scheme, the name in full and the port, such as https://ops.example.com "
            "or http://ops.example.com:8000, without wildcards or a path"
        )
    name, port = split
    host = f"[{name}]" if ":" in name else name
    return f"{scheme}://{host}" if port in (None, PORTS[scheme]) else f"{scheme}://{host}:{port}"


def network(text: str) -> Network:
    """A CIDR block, or one address. Raises `ValueError`."""
    try:
        return ipaddress.ip_network(text.strip().strip("[]"), strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no address or CIDR block, such as 10.0.0.7 or 10.0.0.0/8") from None
