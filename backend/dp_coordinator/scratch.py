"""A temporary folder whose name is short enough for sockets in it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

SOCKET_PATH_AT_MOST = 107
"""Bytes of a Unix socket's path, `sun_path` of unix(7) without the zero at its end."""
_PREFIX = "dp-coordinator-"
_BELOW = len(f"/{_PREFIX}12345678/front_publish")
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  (mkdtemp makes a folder of our own there)


def make_scratch() -> str:
    """A new folder below TMPDIR or, where that is too long for sockets, in a usual place. Raises `OSError`."""
    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) + _BELOW <= SOCKET_PATH_AT_MOST:
        return tempfile.mkdtemp(prefix=_PREFIX)
    short = (place for place in _SHORT if Path(place).is_dir() and os.access(place, os.W_OK | os.X_OK))
    return tempfile.mkdtemp(prefix=_PREFIX, dir=next(short, usual))
