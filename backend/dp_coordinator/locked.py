"""Files that only one process may have open at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path


class InUseError(RuntimeError):
    """Another process has the file."""


def open_locked(path: str | Path) -> int:
    """Open a file for reading and writing, made if need be, and keep others out until it is closed or we die.

    Returns its descriptor. Raises `OSError` when it cannot be opened, or is not a file that only its owner's processes
    can have written, and `InUseError` when another process has it.
    """
    follow = 0 if str(path).startswith("/dev/fd/") else os.O_NOFOLLOW  # a descriptor that was handed to us is named so
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | follow
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link; name the file itself") from None
        raise
    try:
        _check(os.fstat(file))
    except OSError:
        os.close(file)
        raise
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise InUseError(f"{path} is in use by another process") from None
    return file


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if found.st_mode & stat.S_IWOTH:
        mode = stat.S_IMODE(found.st_mode)
        raise OSError(errno.EPERM, f"everybody can write it (mode {mode:04o}); chmod 600 it if it can be trusted")
