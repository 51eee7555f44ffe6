"""Sockets that are files (`ipc://`): never taken from a living process, and watched once they are ours.

libzmq removes whatever lies at the path before it binds (`ipc_listener.cpp`, `set_local_address`), so a second process
would take the address over without a word, and remove it when it ends.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path


def file_of(address: str) -> Path | None:
    """The file of an `ipc://` address; None for other kinds, and for names without a file."""
    path = address.removeprefix("ipc://")
    return None if path == address or path[:1] in {"", "@", "*"} else Path(path)


def check_free(path: Path) -> None:
    """Raise `OSError` when a process listens there, or something lies there that is no socket."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(errno.EEXIST, "a file that is no socket is there; remove it or take another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            pass  # it listens, and does not get to accept
        except OSError:
            return  # left behind by one that ended; or a path that libzmq will find fault with
        raise OSError(errno.EADDRINUSE, "a living process listens there")


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one at the same path; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class OwnFile:
    """The file of a socket that was bound."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._was = identity(path)

    def lost(self) -> str | None:
        """How it was lost, if it was: whoever connects from now on does not reach us."""
        now = identity(self._path)
        if now == self._was:
            return None
        return f"{self._path} was {'removed' if now is None else 'replaced'} by somebody else"
