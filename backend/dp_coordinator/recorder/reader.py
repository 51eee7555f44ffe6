"""Reads recordings back: files in the order given, as one sequence of states and inputs."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dp_coordinator import __version__
from dp_coordinator.core.dialect import Dialect, UnknownDialectError
from dp_coordinator.recorder import chunks, entries
from dp_coordinator.recorder.chunks import Chunk, CutOffError, DamagedError, NotARecordingError
from dp_coordinator.recorder.entries import CheckpointBody, RecordsBody
from dp_coordinator.texts import shown

_BODIES: dict[bytes, tuple[type[Any], str]] = {
    chunks.CHECKPOINT: (CheckpointBody, "a state"),
    chunks.RECORDS: (RecordsBody, "records"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the files something stands."""

    file: str
    offset: int
    """Byte at which its chunk begins."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a file."""

    file: str
    problem: str | None
    """None when it is whole; otherwise where it ends early and why."""
    damaged: bool = False
    """The file was changed, not only cut off."""


class Source:
    """One file, opened and looked at, but not yet read."""

    def __init__(self, path: str, *, any_version: bool = False) -> None:
        """Raises `NotARecordingError` for what cannot be replayed here: foreign, empty, or of another version."""
        self.name = path
        self._data = File(path)
        found = chunks.read(self._data)
        try:
            self.header = chunks.header_of(next(found))
            _check_header(self.header, any_version=any_version)
        except (CutOffError, DamagedError, NotARecordingError) as error:
            raise NotARecordingError(f"{path}: {error}") from None
        self.run = str(self.header.get("run"))
        """Which process recorded it; all of its files have the same."""
        self.ended = Ended(path, None)
        """Of use once `items` has come to its end."""

    def items(self) -> Iterator[tuple[Place, CheckpointBody | RecordsBody]]:
        """The states and batches, each with its place. How it ended is then in `ended`."""
        try:
            for chunk in chunks.read(self._data):
                if chunk.kind in _BODIES:
                    yield Place(self.name, chunk.offset), body_of(chunk)
        except (CutOffError, DamagedError) as error:
            self.ended = Ended(self.name, str(error), damaged=isinstance(error, DamagedError))

    def item_at(self, offset: int) -> CheckpointBody | RecordsBody:
        """What `items` gave with this place."""
        return body_of(chunks.chunk_at(self._data, offset)[0])


def body_of(chunk: Chunk) -> CheckpointBody | RecordsBody:
    """What a CHECKPOINT or RECORDS chunk holds. Raises `DamagedError`."""
    kind, what = _BODIES[chunk.kind]
    try:
        body: CheckpointBody | RecordsBody = msgspec.msgpack.decode(chunk.body, type=kind)
        entries.check(body)
    except entries.UNREADABLE as error:
        fault = shown(str(error))
        raise DamagedError(f"the chunk at byte {chunk.offset} holds {what} that cannot be read: {fault}") from None
    return body


class File:
    """A file of which parts are read; it may grow meanwhile, and ends where it ended at first."""

    def __init__(self, path: str) -> None:
        """Raises `NotARecordingError` when it cannot be read, or has no end that could be known."""
        self._path = path
        try:
            found = Path(path).stat()
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            self._size = found.st_size
            os.close(os.open(path, os.O_RDONLY))
        except OSError as error:
            raise NotARecordingError(f"{path}: cannot be read: {error.strerror or error}") from None

    def __len__(self) -> int:
        """Bytes."""
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        """Some of them. Raises `CutOffError` when they were there and are not any more."""
        begin, end, _ = part.indices(self._size)
        try:
            with open(self._path, "rb") as file:
                file.seek(begin)
                found = file.read(max(0, end - begin))
        except OSError as error:
            raise CutOffError(f"it cannot be read any more from byte {begin} on: {error.strerror or error}") from None
        if len(found) < end - begin:
            raise CutOffError(f"it was cut off at byte {begin + len(found)} while it was read")
        return found


def _check_header(header: dict[str, Any], *, any_version: bool) -> None:
    version = str(header.get("version"))[:40]
    if version != __version__ and not any_version:
        raise NotARecordingError(
            f"it was recorded by dp-coordinator {shown(version)}, and this is {__version__}, which may rightly do "
            "otherwise; take that version, or say --any-version to see where the two differ"
        )
    try:
        Dialect.for_version(str(header.get("dialect")))
    except UnknownDialectError as error:
        raise NotARecordingError(f"its dialect is unknown: {error}") from None
