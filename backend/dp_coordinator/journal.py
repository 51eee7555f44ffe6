"""The journal: what a coordinator that comes back must know, in one small file.

One JSON object in a block of fixed size, with a checksum, written over in place by a single write. A process that is
killed in the middle cannot tear it: the kernel copies one block whole. It is not forced to the disk, since a machine
that goes down takes the coordinator's peers with it.
"""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from dp_coordinator import __version__
from dp_coordinator.core.coordinator import MAX_ENGINES
from dp_coordinator.core.snapshot import Remembered
from dp_coordinator.locked import InUseError, open_locked
from dp_coordinator.messages import Endpoints
from dp_coordinator.options import Deployment
from dp_coordinator.settings import SettingsError
from dp_coordinator.texts import shown

FORMAT = "dp-coordinator journal 2"
READ_BY = {"dp-coordinator journal 1": "0.1"}
"""Earlier formats, and the versions that read them. 1: what is `incarnations` now had another name."""
MAX_WAVE = 2**63 - 1
"""What vLLM's messages carry."""
BLOCK = 4096
"""Bytes: one page, with room for the longest addresses."""


class JournalError(SettingsError):
    """The journal cannot be used; the text names the file and says why and what to do."""


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """What stands in the file."""

    deployment: Deployment
    endpoints: Endpoints
    """Where the sockets really were: peers come back there and nowhere else."""
    http: tuple[str, str] | None
    """The page's address as it was asked for, and as it was bound."""
    incarnations: int
    """How many coordinators have been started on this journal."""
    pid: int
    """The newest of them."""
    state: Remembered


class Journal:
    """The journal of one running coordinator. Nobody else can have it open."""

    def __init__(self, path: str, deployment: Deployment) -> None:
        """Open or create it. Raises `JournalError`: cannot be written, in use, damaged, or of another deployment."""
        self._path = path
        self._deployment = deployment
        self._file = _open(path)
        self._written = False
        try:
            self.past = self._read()
            """What an earlier incarnation wrote last; None in the first."""
        except BaseException:
            os.close(self._file)
            raise
        self._entry: JournalRecord | None = None

    @property
    def restarts(self) -> int:
        """How often this coordinator came back; 0 in its first incarnation."""
        return 0 if self.past is None else self.past.incarnations

    def begin(self, endpoints: Endpoints, http: tuple[str, str] | None) -> None:
        """This incarnation's first entry: everything is bound. Raises `JournalError` when it cannot be written.

        Tried again later it does not take back what was written since.
        """
        if self._entry is None:
            state = Remembered(0, self._deployment.engine_count, False) if self.past is None else self.past.state
            self._entry = JournalRecord(self._deployment, endpoints, http, self.restarts + 1, os.getpid(), state)
        try:
            self.write(self._entry.state)
        except OSError as error:
            raise JournalError(f"--journal {self._path} cannot be written: {error.strerror or error}") from None

    def write(self, state: Remembered) -> None:
        """Write down the state. Raises `OSError` when that fails, or when somebody meddled with the file meanwhile."""
        assert self._entry is not None, "begin comes first"
        self._entry = replace(self._entry, state=state)
        block = _encode(self._entry)
        meddled = self._meddled()
        if meddled == "removed":
            self._make_anew()
        if os.pwrite(self._file, block, 0) != len(block):
            raise OSError(f"{self._path} took only a part of the entry")
        self._written = True
        if meddled is not None:
            raise OSError(f"{self._path} was {meddled} by somebody else since the last entry")

    def _meddled(self) -> str | None:
        """What happened to the file since it was last written."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return "removed"
        if not os.path.samestat(found, os.fstat(self._file)):
            return "replaced"  # it stays so: what is written goes to a file that nobody will find
        return "emptied or cut" if self._written and found.st_size < BLOCK else None

    def _make_anew(self) -> None:
        try:
            anew = open_locked(self._path)
        except InUseError as error:
            raise OSError(str(error)) from None
        os.close(self._file)
        self._file = anew

    def close(self) -> None:
        """Let go of the file, and leave it as it is."""
        os.close(self._file)

    def _read(self) -> JournalRecord | None:
        block = os.pread(self._file, BLOCK, 0)
        if not block:
            return None
        found = _checked(block)
        past = None if found is None else _entry(found)
        needed = None if found is None else READ_BY.get(str(found.get("format")))
        if needed is not None:
            raise JournalError(
                f"--journal {self._path} is of an earlier format and needs dp-coordinator {needed}; this is "
                f"{__version__}. Engines that are still alive need the wave in it: go on with that version, or "
                "remove it and restart the engines as well"
            )
        if past is None:
            raise JournalError(
                f"--journal {self._path} is damaged, or no journal of dp-coordinator. Engines that are still alive "
                "need the wave in it. Name another file, or remove it and restart the engines as well"
            )
        for field in fields(Deployment):
            now, then = getattr(self._deployment, field.name), getattr(past.deployment, field.name)
            if now != then:
                raise JournalError(
                    f"--journal {self._path} belongs to a coordinator with {_flag(field.name)} {shown(str(then))}, "
                    f"not {now}. Name another file, or remove it if those engines are gone"
                )
        return past


def _flag(field: str) -> str:
    return "wave coordination" if field == "wave_coordination" else "--" + field.replace("_", "-")


def _open(path: str) -> int:
    try:
        return open_locked(path)
    except OSError as error:
        raise JournalError(f"--journal {path} cannot be opened for writing: {error.strerror or error}") from None
    except InUseError:
        raise JournalError(f"--journal {path} is in use by another coordinator") from None


def last_entry(path: str) -> JournalRecord | None:
    """What stands in a journal now; None when nothing readable does. Only looks, and needs no lock."""
    with suppress(OSError), open(path, "rb") as file:
        found = _checked(file.read(BLOCK))
        return None if found is None else _entry(found)
    return None


def _encode(entry: JournalRecord) -> bytes:
    text = json.dumps({"format": FORMAT, **asdict(entry)}, separators=(",", ":")).encode()
    line = b"%s %08x\n" % (text, zlib.crc32(text))
    if len(line) > BLOCK:
        raise OSError(f"the entry has {len(line)} bytes, and {BLOCK} is the most: use shorter addresses")
    return line.ljust(BLOCK)


def _checked(block: bytes) -> dict[str, Any] | None:
    """The object in a block, if it is whole, of whatever format."""
    text, _, checksum = block.rstrip().rpartition(b" ")
    with suppress(ValueError, RecursionError):
        if int(checksum, 16) == zlib.crc32(text):
            found = json.loads(text)
            return found if isinstance(found, dict) else None
    return None


def _possible(entry: JournalRecord) -> bool:
    """Whether a coordinator can have written this: a right checksum only says that somebody meant it."""
    state, deployment = entry.state, entry.deployment
    numbers = (
        (deployment.engine_count, 1, MAX_ENGINES),
        (state.engine_count, 1, MAX_ENGINES),
        (state.current_wave, 0, MAX_WAVE),
        (entry.incarnations, 1, MAX_WAVE),
        (entry.pid, 1, MAX_WAVE),
    )
    http = () if entry.http is None else entry.http
    addresses = (*asdict(entry.endpoints).values(), deployment.front_publish_address, deployment.back_output_address)
    return (
        all(type(value) is int and least <= value <= most for value, least, most in numbers)
        and all(type(value) is bool for value in (deployment.wave_coordination, state.ready))
        and all(type(text) is str for text in (*http, deployment.dialect, deployment.back_publish_address))
        and all(type(text) is str and text.startswith(("tcp://", "ipc://")) for text in addresses)
    )


def _entry(found: dict[str, Any]) -> JournalRecord | None:
    """The entry, if that is what the object is."""
    if found.get("format") != FORMAT:
        return None
    with suppress(ValueError, TypeError, KeyError, IndexError):
        entry = JournalRecord(
            deployment=Deployment(**found["deployment"]),
            endpoints=Endpoints(**found["endpoints"]),
            http=None if found["http"] is None else (found["http"][0], found["http"][1]),
            incarnations=found["incarnations"],
            pid=found["pid"],
            state=Remembered(**found["state"]),
        )
        return entry if _possible(entry) else None
    return None
