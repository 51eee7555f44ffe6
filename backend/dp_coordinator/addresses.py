"""HOST:PORT, read, bound and written."""

from __future__ import annotations

import re
import socket

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
