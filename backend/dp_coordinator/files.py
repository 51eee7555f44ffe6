"""Files that others read while they are written."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def may_replace(path: Path) -> bool:
    """Whether a regular file is there, or nothing that can be looked at."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return True


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of the old one or all of the new one. Raises `OSError`."""
    if not may_replace(path):
        raise FileExistsError(errno.EEXIST, "it is no regular file")
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
