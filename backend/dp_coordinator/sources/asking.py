"""Asks all targets, each in a task of its own, and keeps the mailbox's `SourcesView` fresh.

Whoever answers is asked once an interval; whoever does not, after pauses that grow to `LONGEST_PAUSE_S`. Those that
answered last time and those that did not wait for each other only among themselves: however many are stuck, the others
are asked in time. What goes wrong with one target is shown as its own; a defect of ours is logged and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from dp_coordinator.limits import TokenBucket
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.options import SourceOptions
from dp_coordinator.sourced import SourcesView
from dp_coordinator.sources import sglang, tap, vllm
from dp_coordinator.sources.book import Book
from dp_coordinator.sources.http import Client, NotThereError
from dp_coordinator.sources.prometheus_text import UsefulLines
from dp_coordinator.sources.targets import Credentials, Resolve, Target, Targets, resolve
from dp_coordinator.sources.telling import Answer, ScalingError, SilentError, UnusableError
from dp_coordinator.words import RankCondition, SourceKind, TargetState

log = logging.getLogger("dp_coordinator.sources")

AT_ONCE = 64
"""Questions under way at a time to those that answered, and as many to those that did not."""
LONGEST_PAUSE_S = 10.0
TARGETS_EVERY_S = 1.0
"""Seconds between two looks at files and names."""
HEALTH_EVERY_S = 10.0
ROUTES_EVERY_S = 60.0
"""Seconds after which a route that was not there is tried again."""
TELL_AFTER_S, A_TARGET_S, TELL_AT_LATEST_S = 0.02, 0.0002, 0.1
"""Seconds for which answers that come together are told together; more for each target, as a view has them all."""
LOGGED_PER_S, LOGGED_AT_ONCE = 5, 100
_SMALL = 65_536


@dataclass(slots=True)
class _Known:
    """What is remembered of a target between two questions."""

    kind: SourceKind | None = None
    failures: int = 0
    next_at: dict[str, float] = field(default_factory=dict)
    """Route -> when it is asked again."""
    conditions: dict[str, list[tuple[int | None, Mapping[RankCondition, str]]]] = field(default_factory=dict)
    """Route -> what it told last: of one engine, or with None of all."""


class Sources:
    """`run` it on an event loop."""

    def __init__(
        self,
        options: SourceOptions,
        mailbox: Mailbox,
        *,
        placed: bool = False,
        told: Callable[[SourcesView], None] = lambda view: None,
        resolve: Resolve = resolve,
    ) -> None:
        """`placed`: see `Book`. `told` is called with each new view, after the mailbox has it."""
        self._options, self._mailbox, self._told = options, mailbox, told
        self._book = Book(placed=placed, log=self._log)
        self._targets = Targets(options, resolve)
        self._credentials = Credentials(options)
        self._client: Client
        self._listed: list[Target] = []
        self._asking: dict[Target, asyncio.Task[None]] = {}
        self._turns = {True: asyncio.Semaphore(AT_ONCE), False: asyncio.Semaphore(AT_ONCE)}
        self._due: asyncio.TimerHandle | None = None
        self._bucket = TokenBucket(LOGGED_PER_S, LOGGED_AT_ONCE, time.monotonic())
        self._said: dict[str, str] = {}
        if options.tap is not None:
            self._book.listen(options.tap)
        self._tell()

    async def run(self) -> None:
        """Ask until cancelled."""
        self._client = Client(self._options.scrape_timeout, self._credentials)
        address = self._options.tap
        listening = None if address is None else asyncio.create_task(self._listen(address))
        try:
            while True:
                with self._defects_logged("the list of targets"):
                    await self._refresh()
                await asyncio.sleep(TARGETS_EVERY_S)
        finally:
            tasks = [*self._asking.values(), *([] if listening is None else [listening])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._client.close()
            if self._due is not None:
                self._due.cancel()

    # -- whom ----------------------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        now = time.monotonic()
        troubles = dict(await self._credentials.refresh())
        targets, more = await self._targets.current(now)
        troubles |= more
        for name in self._said.keys() - troubles.keys():
            self._book.trouble(name, None, now)
        for name, why in troubles.items():
            self._book.trouble(name, why, now)
        changed = troubles != self._said or targets is not self._listed
        self._said = troubles
        if targets is not self._listed:
            self._listed = targets
            self._book.ask([target.name for target in targets])
            for target in self._asking.keys() - set(targets):
                self._asking.pop(target).cancel()
            for target in targets:
                if target not in self._asking:
                    self._asking[target] = asyncio.create_task(self._keep_asking(target))
        if changed:
            self._news()

    async def _listen(self, address: str) -> None:
        while True:
            with self._defects_logged(address):
                await tap.listen(address, self._book, self._news)
            await asyncio.sleep(LONGEST_PAUSE_S)

    # -- asking one ----------------------------------------------------------------------------------------------------

    async def _keep_asking(self, target: Target) -> None:
        known, interval, due = _Known(), self._options.scrape_interval, time.monotonic()
        while True:
            async with self._turn(known):
                with self._defects_logged(target.name):
                    await self._ask(target, known)
            self._news()
            pause = interval if not known.failures else min(interval * 2 ** min(known.failures, 6), LONGEST_PAUSE_S)
            now = time.monotonic()
            due = max(due + max(interval, pause), now)  # by the clock: those that are told together stay together
            await asyncio.sleep(due - now)

    @contextlib.asynccontextmanager
    async def _turn(self, known: _Known) -> AsyncIterator[None]:
        async with self._turns[known.kind is not None and not known.failures]:
            yield

    async def _ask(self, target: Target, known: _Known) -> None:
        try:
            answer = await self._answer(target, known)
        except (SilentError, UnusableError) as error:
            known.failures += 1
            state = TargetState.SILENT if isinstance(error, SilentError) else TargetState.UNUSABLE
            scaling = isinstance(error, ScalingError)
            self._book.failed(target.name, state, str(error), time.monotonic(), scaling=scaling)
            return
        known.failures, known.kind = 0, answer.kind
        self._book.answered(target.name, answer, time.monotonic())

    async def _answer(self, target: Target, known: _Known) -> Answer:
        """What it tells, by the way that it told before; one that never did may be of either kind."""
        if known.kind is SourceKind.SGLANG:
            try:
                return await self._loads(target, known)
            except UnusableError:
                return await self._metrics(target, known)
        try:
            return await self._metrics(target, known)
        except ScalingError:
            raise
        except UnusableError as first:
            with contextlib.suppress(UnusableError):
                return await self._loads(target, known)
            raise first from None

    async def _loads(self, target: Target, known: _Known) -> Answer:
        answer = sglang.loads(await self._whole(target, sglang.LOADS))
        now = time.monotonic()
        if now >= known.next_at.get(sglang.METRICS, 0.0):
            lines = UsefulLines(sglang.OF_USE)
            try:
                await self._client.get(target, sglang.METRICS, lines.feed)
                return sglang.with_tokens(answer, lines)
            except (SilentError, UnusableError):
                known.next_at[sglang.METRICS] = now + ROUTES_EVERY_S  # it counts nothing unless it is told to
        return answer

    async def _metrics(self, target: Target, known: _Known) -> Answer:
        lines = UsefulLines(vllm.OF_USE)
        await self._client.get(target, vllm.METRICS, lines.feed)
        answer = vllm.metrics(lines)
        await self._routes(target, known)
        told = [each for conditions in known.conditions.values() for each in conditions]
        return vllm.with_conditions(answer, told)

    async def _whole(self, target: Target, path: str, method: str = "GET", most: int = 0) -> bytes:
        body = bytearray()

        def take(chunk: bytes) -> None:
            body.extend(chunk)
            if most and len(body) > most:
                raise UnusableError("the answer is too long")

        await self._client.get(target, path, take, method)
        return bytes(body)

    async def _routes(self, target: Target, known: _Known) -> None:
        """What else it may say. A route that is not there, or says nothing of use, is left alone for a while."""
        for path, method in ((vllm.HEALTH, "GET"), (vllm.PAUSED, "GET"), (vllm.SCALING, "POST"), (vllm.FAULTS, "GET")):
            now = time.monotonic()
            if now < known.next_at.get(path, 0.0):
                continue
            known.next_at[path] = now + (HEALTH_EVERY_S if path == vllm.HEALTH else 0.0)
            try:
                body = await self._whole(target, path, method, _SMALL)
                known.conditions[path] = _conditions(path, body)
            except NotThereError:
                known.conditions.pop(path, None)
                known.next_at[path] = now + ROUTES_EVERY_S
            except UnusableError as error:
                dead: dict[RankCondition, str] = {RankCondition.DEAD: f"its health check fails: {error}"}
                known.conditions[path] = [(None, dead)] if path == vllm.HEALTH else []
                known.next_at[path] = now + HEALTH_EVERY_S
            except (SilentError, msgspec.DecodeError):
                known.conditions.pop(path, None)
                known.next_at[path] = now + HEALTH_EVERY_S

    # -- telling -------------------------------------------------------------------------------------------------------

    def _news(self) -> None:
        """Tell soon: answers that come together make one view."""
        if self._due is None:
            after = min(TELL_AT_LATEST_S, TELL_AFTER_S + A_TARGET_S * len(self._asking))
            self._due = asyncio.get_running_loop().call_later(after, self._tell)

    def _tell(self) -> None:
        self._due = None
        self._mailbox.sources = view = self._book.view()
        self._told(view)

    def _log(self, kind: str, fields: Mapping[str, object]) -> None:
        now = time.monotonic()
        if self._bucket.take(now):
            self._mailbox.log.append(now, kind, fields)

    @contextlib.contextmanager
    def _defects_logged(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception:
            log.exception("asking %s met a defect in dp-coordinator; please report it", what)


def _conditions(path: str, body: bytes) -> list[tuple[int | None, Mapping[RankCondition, str]]]:
    if path == vllm.PAUSED:
        return [(None, vllm.paused(body))]
    if path == vllm.SCALING:
        return [(None, vllm.scaling(body))]
    return list(vllm.faults(body).items()) if path == vllm.FAULTS else []
