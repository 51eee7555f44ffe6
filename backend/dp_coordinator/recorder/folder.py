"""The folder that recordings are written to: numbered files, the oldest of which go when there are too many bytes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from dp_coordinator.locked import InUseError, open_locked
from dp_coordinator.recorder import chunks
from dp_coordinator.settings import SettingsError

FILES = 8
"""The bound is shared by so many files: what is removed at once is an eighth of what is kept."""


class RecordingError(SettingsError):
    """The folder cannot be recorded to; the text names it and says why."""


class Folder:
    """Recordings of one coordinator at a time; those of its earlier incarnations count among the bytes."""

    def __init__(self, path: str, max_bytes: int) -> None:
        """Make the folder if need be. Raises `RecordingError`: cannot be made or written, or is in use."""
        self.path = Path(path)
        """Where the files are."""
        self._max_bytes = max_bytes
        self._lock = _lock(self.path)
        self._stem = f"recording-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
        self._number = 0
        self._file: int | None = None
        self._size = 0
        self._others: dict[Path, int] = {}
        """Size of each file but the open one, oldest first."""

    @property
    def is_open(self) -> bool:
        """Whether a file is being written."""
        return self._file is not None

    @property
    def full(self) -> bool:
        """Whether the open file has its share of the bytes."""
        return self._size >= self._max_bytes // FILES

    def begin(self, head: bytes) -> None:
        """Open the next file with these bytes in it. Raises `OSError`."""
        self._others = _sizes(self.path)
        self._number += 1
        name = self.path / f"{self._stem}-{self._number:04}{chunks.SUFFIX}"
        self._file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0
        self.write(head)

    def write(self, chunk: bytes) -> None:
        """Append a chunk, and remove the oldest files if there are now too many bytes. Raises `OSError`."""
        assert self._file is not None, "begin comes first"
        written = os.write(self._file, chunk)
        if written != len(chunk):
            raise OSError("it took only a part of what was written: the disk is probably full")
        self._size += written
        while self._others and sum(self._others.values()) + self._size > self._max_bytes:
            oldest = next(iter(self._others))
            oldest.unlink(missing_ok=True)
            del self._others[oldest]

    def finish(self, end: bytes) -> None:
        """Write the end mark and close the file. Raises `OSError`, and the file is closed all the same."""
        try:
            self.write(end)
        finally:
            self._close()

    def abandon(self) -> None:
        """Close the file after a failure, without what was written of the last chunk; remove it if that is all."""
        if self._file is None:
            return
        with suppress(OSError):
            os.ftruncate(self._file, self._size)
        self._close()
        if self._size == 0:
            with suppress(OSError):
                (self.path / f"{self._stem}-{self._number:04}{chunks.SUFFIX}").unlink()

    def close(self) -> None:
        """Let another coordinator have the folder."""
        self.abandon()
        os.close(self._lock)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _sizes(path: Path) -> dict[Path, int]:
    return {file: file.stat().st_size for file in sorted(path.glob(f"recording-*{chunks.SUFFIX}"))}


def _lock(path: Path) -> int:
    try:
        path.mkdir(exist_ok=True)
        return open_locked(path / ".lock")
    except OSError as error:
        raise RecordingError(f"--record {path} cannot be written: {error.strerror or error}") from None
    except InUseError:
        raise RecordingError(f"--record {path} is in use by another coordinator") from None
