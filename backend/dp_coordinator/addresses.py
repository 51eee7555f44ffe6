"""A listening TCP socket: bound at HOST:PORT, and where it is."""

from __future__ import annotations

import socket

from dp_coordinator.values import parse_host_port


def listen(address: str, backlog: int) -> socket.socket:
    """A listening socket at HOST:PORT. Raises `BadValueError` for another text, `OSError` when it cannot be bound."""
    host, port = parse_host_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=backlog)


def bound_address(listener: socket.socket) -> str:
    """Where it listens, as HOST:PORT."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
