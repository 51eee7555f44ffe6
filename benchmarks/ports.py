"""Ports for what can neither choose one itself nor tell which it got."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

_LOWEST, _BEYOND = 20_000, 32_000
"""Below those that the kernel gives to connections (net.ipv4.ip_local_port_range): a busy machine would take one of
these between the look and the use."""
_chance = random.Random()


def free_port() -> int:
    """A port that nobody has."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many in a row that nobody has, and no connection that ended."""
    while True:
        first = _chance.randrange(_LOWEST, _BEYOND)
        ports = list(range(first, first + count))
        if _in_use().isdisjoint(ports) and _can_be_bound(ports):
            return ports


def _can_be_bound(ports: list[int]) -> bool:
    with suppress(OSError), ExitStack() as stack:
        for port in ports:
            stack.enter_context(socket.socket()).bind(("", port))
        return True
    return False


def _in_use() -> set[int]:
    """Ports of tcp connections, ended ones that linger among them."""
    table = Path("/proc/net/tcp")
    lines = table.read_text().splitlines()[1:] if table.exists() else []
    return {int(line.split()[1].rpartition(":")[2], 16) for line in lines}
