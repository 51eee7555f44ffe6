"""The file format: a line that names it, then chunks, each with its length and checksums.

A file is only ever appended to, a whole chunk by one write. So one whose writer was killed ends with whole chunks and
perhaps a part of one more, and both can be told from a file that something else has changed.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from dp_coordinator import __version__
from dp_coordinator.settings import SettingsError

MAGIC = b"dp-coordinator recording "
FORMAT = 2
READ_BY = {"1": "0.1"}
"""Earlier formats, and the versions that read them. 1: a checkpoint had the state in another shape."""
SUFFIX = ".dprec"
HEADER, CHECKPOINT, RECORDS, END = b"H", b"C", b"R", b"E"
CHUNK_AT_MOST = {HEADER: 1 << 20, CHECKPOINT: 32 << 20, RECORDS: 10 << 20, END: 1 << 10}
"""Bytes of one chunk, packed or not: a whole event log goes into one, and a state of all the engines there can be."""
UNPACKED_TO, UNPACKED_AT_FIRST = 100, 16 << 20
"""A file unpacks to at most so many times its bytes, beside so many. Ours reach a half of it when idle."""
OTHER_CHUNK_AT_MOST = 1 << 20
_FRAME = struct.Struct("<cIII")
_CHECKED = 9
_FIRST_LINE = MAGIC + b"%d\n" % FORMAT


class NotARecordingError(SettingsError):
    """This file cannot be read as a recording at all; the text says why."""


class CutOffError(ValueError):
    """The file ends within a chunk, or without an end mark; what comes before is whole."""


class DamagedError(ValueError):
    """A checksum is wrong: something has changed the file. What comes before is whole."""


class Data(Protocol):
    """Bytes of which parts can be read: a file that is not held in memory, or bytes."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, part: slice, /) -> bytes:
        """A part."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk as it was found."""

    kind: bytes
    offset: int
    """Byte of the file at which it begins."""
    body: bytes
    """Unpacked."""


def pack(kind: bytes, body: bytes) -> bytes:
    """A whole chunk, compressed but for the header, which people may want to read."""
    packed = body if kind == HEADER else zlib.compress(body, 1)
    start = struct.pack("<cII", kind, len(packed), zlib.crc32(packed))
    return b"%b%b%b" % (start, struct.pack("<I", zlib.crc32(start)), packed)


def beginning(header: Mapping[str, object]) -> bytes:
    """What every file begins with: the first line and the header chunk."""
    return _FIRST_LINE + pack(HEADER, json.dumps(header).encode())


def end(*, continues: bool) -> bytes:
    """The end mark; `continues` when the recording goes on in another file."""
    return pack(END, json.dumps({"continues": continues}).encode())


def read(data: Data) -> Iterator[Chunk]:
    """The chunks of a file, the header first, the end mark last; one at a time is in memory.

    Raises `NotARecordingError` before the first chunk, `CutOffError` or `DamagedError` after the last good one.
    """
    _check_first_line(data[: len(_FIRST_LINE) + 20])
    at = len(_FIRST_LINE)
    kind, unpacked = b"", 0
    while at < len(data):
        chunk, at = chunk_at(data, at)
        unpacked += len(chunk.body)
        if unpacked > UNPACKED_AT_FIRST + UNPACKED_TO * at:
            raise DamagedError(f"up to byte {at} it unpacks to {unpacked} bytes, more than dp-coordinator ever packs")
        yield chunk
        kind = chunk.kind
        if kind == END and at < len(data):
            raise DamagedError(f"{len(data) - at} bytes follow the end mark at byte {at}")
    if kind != END:
        raise CutOffError(f"it ends at byte {at} without an end mark")


def _check_first_line(data: bytes) -> None:
    if data.startswith(_FIRST_LINE):
        return
    if not data:
        raise NotARecordingError("it is empty")
    if _FIRST_LINE.startswith(data):
        raise NotARecordingError(f"it was cut off after {len(data)} bytes, before anything was recorded")
    if not data.startswith(MAGIC):
        raise NotARecordingError("it is no recording of dp-coordinator")
    number = data[len(MAGIC) :][:20].partition(b"\n")[0].decode("ascii", "replace")
    needed = f"dp-coordinator {READ_BY[number]}" if number in READ_BY else "a newer dp-coordinator"
    raise NotARecordingError(
        f"it has the recording format {number!r} and needs {needed}; this is {__version__}, which reads {FORMAT}"
    )


def chunk_at(data: Data, at: int) -> tuple[Chunk, int]:
    """The chunk that begins at a byte, and where the next one does. Raises `CutOffError` or `DamagedError`."""
    start = data[at : at + _FRAME.size]
    if len(start) < _FRAME.size:
        raise CutOffError(f"it ends in the middle of a chunk that begins at byte {at}")
    kind, length, checksum, own = _FRAME.unpack(start)
    if own != zlib.crc32(start[:_CHECKED]) or length > CHUNK_AT_MOST.get(kind, OTHER_CHUNK_AT_MOST):
        raise DamagedError(f"the chunk at byte {at} has a damaged beginning")
    packed = data[at + _FRAME.size : at + _FRAME.size + length]
    if len(packed) < length:
        raise CutOffError(f"it ends in the middle of a chunk that begins at byte {at}")
    if zlib.crc32(packed) != checksum:
        raise DamagedError(f"the chunk at byte {at} has a wrong checksum")
    return Chunk(kind, at, packed if kind == HEADER else _unpack(packed, kind, at)), at + _FRAME.size + length


def _unpack(packed: bytes, kind: bytes, at: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        body = unpacker.decompress(packed, CHUNK_AT_MOST.get(kind, OTHER_CHUNK_AT_MOST))
    except zlib.error as error:
        raise DamagedError(f"the chunk at byte {at} cannot be unpacked: {error}") from None
    if not unpacker.eof:
        raise DamagedError(f"the chunk at byte {at} is larger than any that dp-coordinator writes")
    return body


def header_of(chunk: Chunk) -> dict[str, Any]:
    """What the header says. Raises `NotARecordingError` when it is none."""
    try:
        header: dict[str, Any] = msgspec.json.decode(chunk.body if chunk.kind == HEADER else b"", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotARecordingError("it does not begin with a header") from None
    return header
