"""What the web side must know after a restart, behind the journal's block in the same file.

Two places are written in turn, each with a checksum and a number: a process that is killed while it writes one leaves
the other as it was. The journal's own block is not touched.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress

FIRST_AT = 4096
"""Bytes: where the journal's block ends."""
PLACE = 128 * 1024
_HEAD = struct.Struct("<8sIQI")
_MAGIC = b"dpnotes1"
AT_MOST = PLACE - _HEAD.size
"""Bytes of one note."""


class Notes:
    """The notes of one journal. Only one thread writes them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._number = 0

    def read(self) -> bytes | None:
        """What was written last; None where nothing readable is."""
        with suppress(OSError):
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                found = [note for place in range(2) if (note := _in_place(file, place)) is not None]
            finally:
                os.close(file)
            if found:
                self._number, text = max(found)
                return text
        return None

    def write(self, text: bytes) -> None:
        """Write it down in place of what was there. Raises `OSError`, also when it is too long."""
        if len(text) > AT_MOST:
            raise OSError(f"a note of {len(text)} bytes is too long")
        head = _HEAD.pack(_MAGIC, zlib.crc32(text), self._number + 1, len(text))
        file = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(file, head + text, FIRST_AT + PLACE * ((self._number + 1) % 2))
        finally:
            os.close(file)
        self._number += 1


def _in_place(file: int, place: int) -> tuple[int, bytes] | None:
    block = os.pread(file, PLACE, FIRST_AT + PLACE * place)
    if len(block) < _HEAD.size:
        return None
    magic, checksum, number, size = _HEAD.unpack_from(block)
    text = block[_HEAD.size : _HEAD.size + size]
    good = magic == _MAGIC and len(text) == size and zlib.crc32(text) == checksum
    return (number, text) if good else None
