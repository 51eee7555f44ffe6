"""Which API servers are asked: those that were named, those that a file lists, and all addresses that a name has."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from dp_coordinator.hosts import ScrapeUrl, is_ip, url
from dp_coordinator.options import SourceOptions
from dp_coordinator.values import BadValueError, token_in

TARGETS_AT_MOST = 4096
RESOLVED_FOR_S = 10.0
"""Seconds after which a name is looked up again."""
_FILE_AT_MOST = 1024 * 1024
Troubles: TypeAlias = dict[str, str]
"""What cannot be used, by its name, and why."""
Resolve: TypeAlias = Callable[[str], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Target:
    """One API server."""

    name: str
    """Its URL, for people: as it was named, or by its address where its name has several."""
    base: str
    """Its URL by address: what is connected to."""
    host: str | None
    """The name that it is to be asked by; None where that is its address."""


async def resolve(host: str) -> list[str]:
    """The addresses of a name, of IPv4 where it has such: of a server with both kinds, one is enough.

    Raises `OSError`.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    four = {str(where[0]) for family, _, _, _, where in found if family is socket.AF_INET}
    return sorted(four or {str(where[0]) for _, _, _, _, where in found})


class Targets:
    """Ask `current` now and then: files are read again when they change, names looked up again after a while."""

    def __init__(self, options: SourceOptions, resolve: Resolve = resolve) -> None:
        self._options = options
        self._resolve = resolve
        self._listed = [ScrapeUrl.parse(text) for text in options.scrape]
        self._file = Changing(options.scrape_file)
        self._in_file: list[ScrapeUrl] = []
        self._file_troubles: Troubles = {}
        self._addresses: dict[str, tuple[list[str], float]] = {}
        """Name -> its addresses, and when they were looked up."""

    async def current(self, now: float) -> tuple[list[Target], Troubles]:
        """The targets in their order, and what cannot be used."""
        text = await self._file.read()
        if isinstance(text, bytes):
            self._in_file, self._file_troubles = _parsed(text, self._options.scrape_file or "")
        elif text is not None:
            self._file_troubles = {self._options.scrape_file or "": text}
        troubles = dict(self._file_troubles)
        origins = list(dict.fromkeys(each for one in (*self._listed, *self._in_file) for each in one.origins()))
        if len(origins) > TARGETS_AT_MOST:
            troubles["the targets"] = f"these are {len(origins)}: only the first {TARGETS_AT_MOST} are asked"
            del origins[TARGETS_AT_MOST:]
        names = {host for _, host, _ in origins if not is_ip(host)}
        await asyncio.gather(*(self._look_up(host, now, troubles) for host in names))
        targets = [target for origin in origins for target in self._at(*origin)]
        return targets[:TARGETS_AT_MOST], troubles

    async def _look_up(self, host: str, now: float, troubles: Troubles) -> None:
        known, at = self._addresses.get(host, ([], float("-inf")))
        if known and now - at < RESOLVED_FOR_S:
            return
        try:
            self._addresses[host] = await self._resolve(host), now
        except OSError as error:
            troubles[host] = f"it has no address: {error.strerror or error}"
            if known:  # it had some: they go on being asked
                self._addresses[host] = known, at

    def _at(self, scheme: str, host: str, port: int) -> Iterable[Target]:
        if is_ip(host):
            yield Target(url(scheme, host, port), url(scheme, host, port), None)
            return
        addresses, _ = self._addresses.get(host, ([], 0.0))
        for address in addresses:
            base = url(scheme, address, port)
            yield Target(url(scheme, host, port) if len(addresses) == 1 else base, base, host)


def _parsed(text: bytes, file: str) -> tuple[list[ScrapeUrl], Troubles]:
    """One address a line; what follows a # is a comment."""
    found: list[ScrapeUrl] = []
    troubles: Troubles = {}
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].strip()
        try:
            found += [ScrapeUrl.parse(words)] if words else []
        except BadValueError as error:
            if len(troubles) < 20:
                troubles[f"{file}, line {number}"] = str(error)
    return found, troubles


def _at_once(path: str, flags: int) -> int:
    """Open a file; a pipe too, to which nobody may ever write."""
    return os.open(path, flags | os.O_NONBLOCK)


class Changing:
    """A file that is read again when it changes."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._was: object = None

    async def read(self) -> bytes | str | None:
        """What stands in it, if that is new; why it cannot be read, if that is; None for nothing new."""
        return None if self._path is None else await asyncio.to_thread(self._read, Path(self._path))

    def _read(self, path: Path) -> bytes | str | None:
        try:
            found = path.stat()
            now: object = (found.st_mtime_ns, found.st_size, found.st_ino)
            if now == self._was:
                return None
            with open(path, "rb", opener=_at_once) as file:
                text: bytes | str = file.read(_FILE_AT_MOST + 1) or b""
            if len(text) > _FILE_AT_MOST:
                text = "it has more than 1 MiB: that is no list of addresses"
        except OSError as error:
            text = now = f"it cannot be read: {error.strerror}"
            if now == self._was:
                return None
        self._was = now
        return text


class Credentials:
    """The token and the certificates, from files that are read again when they change."""

    def __init__(self, options: SourceOptions) -> None:
        self._token_file, self._ca_file = options.scrape_token_file, options.scrape_ca_file
        self._token_changing, self._ca_changing = Changing(self._token_file), Changing(self._ca_file)
        self.token: str | None = None
        self._context: ssl.SSLContext | None = None
        self._troubles: Troubles = {}

    async def refresh(self) -> Troubles:
        """Read what has changed; what cannot be used, and why: what it was before goes on."""
        if (read := await self._token_changing.read()) is not None:
            self._take(self._token_file or "", read, self._take_token)
        if (read := await self._ca_changing.read()) is not None:
            self._take(self._ca_file or "", read, self._take_certificates)
        return self._troubles

    @property
    def context(self) -> ssl.SSLContext:
        """For https; made when it is first asked for, which takes a moment."""
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context

    def _take(self, file: str, read: bytes | str, take: Callable[[bytes], None]) -> None:
        self._troubles.pop(file, None)
        try:
            if isinstance(read, str):
                raise BadValueError(read)
            take(read)
        except (BadValueError, ssl.SSLError, ValueError) as error:
            self._troubles[file] = str(error) or "it holds no certificates"

    def _take_token(self, read: bytes) -> None:
        self.token = token_in(self._token_file or "")

    def _take_certificates(self, read: bytes) -> None:
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=read.decode("ascii"))
        self._context = context
