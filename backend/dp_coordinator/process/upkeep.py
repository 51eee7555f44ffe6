"""What a coordinator looks after once a second, on the loop's thread: what got lost, and what it came back without.

After a restart only the sockets and the journal matter. Everything else (the page, the recording, the file with the
addresses) may be missing for a while: it is said, and tried again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from dp_coordinator.core.snapshot import Snapshot, WaveCause
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.words import AlarmKind

log = logging.getLogger("dp_coordinator")

INTERVAL_S = 1.0
LONGEST_RETRY_S = 60.0
"""Between two tries for a missing part; the first comes after `INTERVAL_S`, each later one after twice as long."""


class Part:
    """Something that waves do not need."""

    def __init__(self, name: str, begin: Callable[[], None]) -> None:
        self.name = name
        self.begin = begin
        """Raises when it cannot be had."""
        self.missing: str | None = None
        """Why it is missing; None when it works."""
        self.retry_at, self._pause = 0.0, INTERVAL_S

    def attempt(self, now: float) -> None:
        """Try to have it."""
        self.missing = None  # before it begins, for it may end at once
        try:
            self.begin()
        except Exception as error:  # whatever it is, waves must go on
            self._lose(str(error) or repr(error), now)

    def lose(self, why: str) -> None:
        """Note that it ended by itself. Safe from any thread."""
        self._lose(why, time.monotonic())

    def _lose(self, why: str, now: float) -> None:
        self.retry_at, self._pause = now + self._pause, min(2 * self._pause, LONGEST_RETRY_S)
        self.missing = why


class Upkeep:
    """Ask `turn` at every turn of the loop; it does something once a second."""

    def __init__(
        self,
        mailbox: Mailbox,
        unreachable: Callable[[], Mapping[str, str]],
        *,
        fresh: bool = True,
        restarted: str | None = None,
    ) -> None:
        """`unreachable`: the sockets that nobody can reach -> why. `fresh`: no earlier incarnation is known.

        `restarted`: how an earlier one ended, if a supervisor knows of one: then a fresh start means a lost journal.
        """
        self._mailbox = mailbox
        self._unreachable = unreachable
        self._parts: list[Part] = []
        self._said: dict[AlarmKind, dict[str, str]] = {AlarmKind.PART_MISSING: {}, AlarmKind.SOCKET_UNREACHABLE: {}}
        """Part or socket -> what was said of it last."""
        self._watches_waves = fresh
        self._ahead_before = False
        self._next = 0.0
        if fresh and restarted is not None:
            self._fresh_start("no journal was found after a restart", time.monotonic())

    def add(self, part: Part, *, needed: bool) -> None:
        """Have a part now. When it is `needed` and cannot be had this raises; otherwise it is tried again."""
        if needed:
            part.begin()
        else:
            part.attempt(time.monotonic())
        self._parts.append(part)

    def turn(self) -> None:
        """Look after everything, unless that was just done."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + INTERVAL_S
        for part in self._parts:
            if part.missing is not None and now >= part.retry_at:
                part.attempt(now)
        missing = {part.name: part.missing for part in self._parts if part.missing is not None}
        self._tell(AlarmKind.PART_MISSING, "Missing since the restart", missing, now)
        self._tell(AlarmKind.SOCKET_UNREACHABLE, "Unreachable", self._unreachable(), now)
        if self._watches_waves:
            self._compare_waves(self._mailbox.snapshot, now)

    def _tell(self, kind: AlarmKind, title: str, found: Mapping[str, str], now: float) -> None:
        """Log what is new and what is over, and keep the alarm."""
        events, said, part = self._mailbox.log, self._said[kind], kind is AlarmKind.PART_MISSING
        for name, why in found.items():
            if said.get(name) != why:
                said[name] = why
                log.error("%s: %s; going on without, and trying again", name, why)
                events.append(now, "part_missing" if part else "socket_unreachable", {"name": name, "detail": why})
        for name in said.keys() - found.keys():
            del said[name]
            log.info("%s works again", name)
            events.append(now, "part_works_again" if part else "socket_works_again", {"name": name})
        reasons = "; ".join(f"{name}: {why}" for name, why in found.items())
        self._trouble(kind, f"{title}: {reasons}" if found else None, now)

    def _trouble(self, kind: AlarmKind, title: str | None, now: float) -> None:
        troubles = dict(self._mailbox.troubles)
        since, _ = troubles.pop(kind, (now, ""))
        if title is not None:
            troubles[kind] = since, title
        self._mailbox.troubles = troubles

    # -- a fresh start beside engines that live -----------------------------------------------------------------------

    def _compare_waves(self, snapshot: Snapshot, now: float) -> None:
        """Engines that began with us begin at wave 0; a wave that is ahead of ours for two looks is an older one's."""
        if AlarmKind.FRESH_START in self._mailbox.troubles:
            if any(wave.completed for wave in snapshot.waves):
                self._trouble(AlarmKind.FRESH_START, None, now)
                self._watches_waves = False
            return
        first = snapshot.waves[0] if snapshot.waves else None
        ahead = max((wave or 0 for wave in snapshot.engines.current_wave), default=0)
        if first is not None and first.number > 0 and first.cause is not WaveCause.MANUAL:
            self._fresh_start(f"the first wave heard of is {first.number}", now)
        elif ahead > snapshot.current_wave:
            if self._ahead_before:
                self._fresh_start(f"an engine is at wave {ahead}", now)
            self._ahead_before = True
        elif first is not None:
            self._watches_waves = False  # they agree

    def _fresh_start(self, why: str, now: float) -> None:
        text = f"A fresh start beside engines that live: {why}"
        log.error("%s. Was the journal removed or emptied?", text)
        self._mailbox.log.append(now, "fresh_start", {"detail": why})
        self._trouble(AlarmKind.FRESH_START, text, now)
