"""Where the page listens: an address that was chosen, or the first free one of a range.

vLLM's API server binds its port early and listens minutes later, with SO_REUSEADDR and SO_REUSEPORT
(`vllm/entrypoints/openai/api_server.py`, `create_server_socket` and `setup_server`). With SO_REUSEADDR of our own we
could bind such a port too and listen first; vLLM's `listen` would then fail. So an address is taken as soon as anybody
has bound it.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from dp_coordinator.addresses import bound_address
from dp_coordinator.hosts import HttpAddress

log = logging.getLogger("dp_coordinator")

_BACKLOG = 2048
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
_LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""


class TakenError(OSError):
    """Nothing can listen there; the text says why, in words."""


def listen(address: str, before: str | None = None) -> socket.socket:
    """A listening socket. `before`: where an earlier incarnation was, which is tried first: viewers come back there.

    Raises `TakenError` when nothing can listen there, `BadValueError` when it is no address.
    """
    wanted = HttpAddress.parse(address)
    if before is not None:
        try:
            return _listen_on(wanted.host, HttpAddress.parse(before).port)
        except TakenError as error:
            if wanted.chosen:
                raise
            log.warning("the page cannot come back at %s (%s); it moves", before, error.strerror)
    refusal = None
    for port in range(wanted.port, wanted.last_port + 1):
        try:
            listener = _listen_on(wanted.host, port)
        except TakenError as error:
            refusal = refusal or error
            continue
        if refusal is not None:
            log.warning("port %d: %s; the page is at %s", wanted.port, refusal.strerror, url_of(listener))
        return listener
    assert refusal is not None, "a range has a port"
    raise refusal


def _listen_on(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise TakenError(error.errno, error.strerror or str(error)) from None
    # asyncio sets TCP_NODELAY only on sockets that say that they are TCP. Without it, an answer on a connection that
    # is kept open waits 40 ms for the peer's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        _bind(listener, where)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise TakenError(error.errno, error.strerror or str(error)) from None
    return listener


def _bind(listener: socket.socket, where: tuple[Any, ...]) -> None:
    """Bind, unless somebody else has bound it, listening or not. Connections that ended are no hindrance."""
    try:
        listener.bind(where)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or _held(listener, where):
            raise
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
    # Connections inherit it: what is left of them does not keep the next incarnation from binding.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _held(listener: socket.socket, where: tuple[Any, ...]) -> bool:
    """Whether a socket is bound there, and not only what is left of connections (TIME_WAIT).

    The kernel lists no socket that is bound and does not listen. But one that shares its port, as vLLM's does, lets in
    another that shares; one that is bound to every address is in the way at each; and where no connection is left,
    something else must be in the way.
    """
    if _can_bind(listener.family, where, share=True):
        return True
    host, port = where[:2]
    neighbour = ("127.255.255.254", port)
    if ipaddress.ip_address(host) in _LOOPBACK and not _can_bind(listener.family, neighbour):
        return True
    return not _connections_left(port)


def _connections_left(port: int) -> bool:
    """Whether the kernel holds connections of that port here."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with suppress(OSError), table.open() as rows:
            next(rows)
            if any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] != _LISTEN for row in rows):
                return True
    return False


def _can_bind(family: int, where: tuple[Any, ...], *, share: bool = False) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            if share:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(where)
        except OSError:
            return False
    return True


def url_of(listener: socket.socket) -> str:
    """The address to open."""
    return url_at(bound_address(listener))


def url_at(bound: str) -> str:
    """The address to open, from this machine when it listens on all addresses: 0.0.0.0 and :: name none."""
    where = HttpAddress.parse(bound)
    return f"http://127.0.0.1:{where.port}" if where.everywhere else f"http://{bound}"
