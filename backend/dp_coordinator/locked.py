"""Files that only one process may have open at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class InUseError(RuntimeError):
    """Another process has the file."""


def open_locked(path: str | Path) -> int:
    """Open a file for reading and writing, made if need be, and keep others out until it is closed or we die.

    Returns its descriptor. Raises `OSError` when it cannot be opened and `InUseError` when another process has it.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise InUseError(f"{path} is in use by another process") from None
    return file
