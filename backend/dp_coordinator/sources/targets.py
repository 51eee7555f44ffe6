"""Which API servers are asked: those that were named, those that a file lists, and all addresses that a name has."""

from __future__ import annotations

import asyncio
import socket
import ssl
import stat
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

from dp_coordinator.hosts import ScrapeUrl, is_ip, url
from dp_coordinator.options import SourceOptions
from dp_coordinator.values import BadValueError, token_in

TARGETS_AT_MOST = 4096
RESOLVED_FOR_S = 10.0
"""Seconds after which a name is looked up again."""
LOOKED_UP_WITHIN_S = 0.5
"""Seconds for which addresses are waited for: a name server that is away must not hold up what needs none."""
LOOK_UPS_AT_ONCE = 64
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
    done: Future[list[Any]] = Future()

    def ask() -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            done.set_result(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            done.set_exception(error)

    # A thread that nobody waits for: it may be stuck for a minute, and an executor's would hold up the process's end.
    threading.Thread(target=ask, name="resolve", daemon=True).start()
    found = await asyncio.wrap_future(done)
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
        self._looking_up: dict[str, asyncio.Task[None]] = {}
        self._name_troubles: Troubles = {}
        self._targets: list[Target] = []
        self._list()

    async def current(self, now: float) -> tuple[list[Target], Troubles]:
        """The targets in their order, the same list until they change, and what cannot be used."""
        text = await self._file.read()
        if isinstance(text, bytes):
            self._in_file, self._file_troubles = _parsed(text, self._options.scrape_file or "")
            self._list()
        elif text is not None:
            self._file_troubles = {self._options.scrape_file or "": text}
        if self._names:
            await self._look_up(now)
        return self._targets, self._file_troubles | self._too_many | self._name_troubles

    def _list(self) -> None:
        origins: dict[tuple[str, str, int], None] = {}
        for each in chain.from_iterable(one.origins() for one in (*self._listed, *self._in_file)):
            origins[each] = None
            if len(origins) > TARGETS_AT_MOST:  # a file can name a thousand million
                break
        more = len(origins) > TARGETS_AT_MOST
        self._too_many = {"the targets": f"only the first {TARGETS_AT_MOST} that are listed are asked"} if more else {}
        self._origins = list(origins)[:TARGETS_AT_MOST]
        self._names = {host for _, host, _ in origins if not is_ip(host)}
        for host in self._looking_up.keys() - self._names:
            self._looking_up.pop(host).cancel()
        self._name_troubles = {host: why for host, why in self._name_troubles.items() if host in self._names}
        self._make()

    def _make(self) -> None:
        """Each server once, also where it is listed by its address and by a name."""
        made: dict[str, Target] = {}
        hosts: dict[str, set[str | None]] = {}
        for target in (target for origin in self._origins for target in self._at(*origin)):
            by = hosts.setdefault(target.base, set())
            if target.name not in made and not by & {None, target.host} and not (by and target.host is None):
                made[target.name] = target  # two names of one address may be two servers behind a proxy
                by.add(target.host)
        self._targets = list(made.values())[:TARGETS_AT_MOST]

    async def _look_up(self, now: float) -> None:
        due = (host for host in self._names - self._looking_up.keys() if self._is_due(host, now))
        for host in islice(due, max(0, LOOK_UPS_AT_ONCE - len(self._looking_up))):
            self._looking_up[host] = asyncio.create_task(self._addresses_of(host, now))
        if self._looking_up:
            await asyncio.wait(self._looking_up.values(), timeout=LOOKED_UP_WITHIN_S)

    def _is_due(self, host: str, now: float) -> bool:
        known, at = self._addresses.get(host, ([], 0.0))
        return not known or now - at >= RESOLVED_FOR_S

    async def _addresses_of(self, host: str, now: float) -> None:
        known, _ = self._addresses.get(host, ([], 0.0))
        if not known:
            self._name_troubles.setdefault(host, "its addresses are being looked up")
        try:
            found = await self._resolve(host)
        except (OSError, UnicodeError) as error:  # one that it had goes on being asked
            self._name_troubles[host] = f"it has no address: {getattr(error, 'strerror', None) or error}"
            return
        finally:
            self._looking_up.pop(host, None)
        self._name_troubles.pop(host, None)
        self._addresses[host] = found, now
        if found != known:
            self._make()

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
    for number, line in enumerate(text.decode("utf-8-sig", "replace").splitlines(), 1):
        words = line.partition("#")[0].strip()
        try:
            found += [ScrapeUrl.parse(words)] if words else []
        except BadValueError as error:
            if len(troubles) < 20:
                troubles[f"{file}, line {number}"] = str(error)
        if len(found) > TARGETS_AT_MOST:
            break
    if not found and not troubles:
        troubles[file] = "it lists no address"
    return found, troubles


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
            if not stat.S_ISREG(found.st_mode):
                text: bytes | str = "it is no file that can be read again"  # to open a pipe would wait for who writes
            else:
                text = path.read_bytes() if found.st_size <= _FILE_AT_MOST else "it has more than 1 MiB"
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
        context.load_verify_locations(cadata=read.decode("ascii", "ignore"))  # comments name authorities in any script
        self._context = context
