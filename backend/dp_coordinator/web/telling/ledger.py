"""Which alarms somebody was told of, and what is still to be told. Pure but for the number that it gives each.

It outlives the process (`Kept`): a coordinator that comes back knows of which alarms a message went out, and tells when
they are over. Until it could have found one again, and while engines rejoin, it takes none of them to be over.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.words import AlarmKind, Severity

WAITING_AT_MOST = 64
"""Messages that are not delivered; the oldest are given up for newer ones."""
ON_ITS_WAY_S = 3.0
"""Seconds: what was posted so shortly before the next process began counts as taken, for its sender died before the
answer, which seldom takes longer. What was posted earlier is posted again."""
RANKS_NAMED = 64
_TITLE_AT_MOST = 400
UNTOLD = frozenset({AlarmKind.WEBHOOK_FAILING})
"""Nobody is told of these."""
What: TypeAlias = Literal["raised", "cleared"]


class Incident(Struct, frozen=True):
    """One alarm, from the message that it was raised to the one that it cleared. Times are Unix seconds."""

    id: str
    kind: AlarmKind
    severity: Severity
    title: str
    engines: list[int]
    """The first `RANKS_NAMED` of the ranks that it is about."""
    more_engines: int
    """How many besides."""
    since: float
    raised_at: float


class Due(Struct, frozen=True):
    """One message."""

    incident: Incident
    what: What
    at: float
    """When it was raised or cleared."""


class Kept(Struct, frozen=True):
    """What outlives the process."""

    standing: list[Incident]
    waiting: list[Due]
    posted_at: float | None = None
    """When the first that waits was posted, if that had no answer yet; Unix seconds."""


class Ledger:
    """Alarms as they come and go, as messages in their order."""

    def __init__(self, kept: Kept | None = None, now: float = 0.0) -> None:
        """`now`: Unix seconds."""
        self._standing = {} if kept is None else {each.kind: each for each in kept.standing}
        self._inherited = set(self._standing)
        self.waiting: deque[Due] = deque() if kept is None else deque(kept.waiting)
        self.posted_at: float | None = None
        """Since when the first that waits is on its way."""
        posted_at = None if kept is None else kept.posted_at
        if self.waiting and posted_at is not None and 0 <= now - posted_at < ON_ITS_WAY_S:
            self.waiting.popleft()
        self.given_up = 0
        """Messages that made room for newer ones."""

    def kept(self) -> Kept:
        """What the next process is to know."""
        return Kept(list(self._standing.values()), list(self.waiting), self.posted_at)

    def look(
        self,
        alarms: Mapping[AlarmKind, Alarm],
        now: float,
        wall: Callable[[float], float],
        found_by_now: Callable[[AlarmKind], bool],
    ) -> bool:
        """Note what is new and what is over; whether anything is.

        `now` and the alarms' times are monotonic, `wall` makes Unix seconds of them. `found_by_now`: whether an alarm
        of the process before, if it still stood, would have been raised again.
        """
        before = len(self.waiting) + self.given_up
        self._inherited -= alarms.keys()
        for kind, alarm in alarms.items():
            if kind not in self._standing and kind not in UNTOLD:
                incident = self._standing[kind] = _incident(alarm, wall(now), wall(alarm.since))
                self._add(Due(incident, "raised", wall(now)))
        for kind in self._standing.keys() - alarms.keys():
            if kind not in self._inherited or found_by_now(kind):
                self._inherited.discard(kind)
                self._add(Due(self._standing.pop(kind), "cleared", wall(now)))
        return len(self.waiting) + self.given_up != before

    def _add(self, due: Due) -> None:
        if len(self.waiting) == WAITING_AT_MOST:
            self.waiting.popleft()
            self.given_up += 1
        self.waiting.append(due)

    def done(self, due: Due) -> None:
        """It was delivered, or given up: it waits no more."""
        if self.waiting and self.waiting[0] is due:
            self.waiting.popleft()


def _incident(alarm: Alarm, raised_at: float, since: float) -> Incident:
    return Incident(
        secrets.token_hex(8),
        alarm.kind,
        alarm.severity,
        alarm.title[:_TITLE_AT_MOST],
        list(alarm.engines[:RANKS_NAMED]),
        max(0, len(alarm.engines) - RANKS_NAMED),
        since,
        raised_at,
    )
