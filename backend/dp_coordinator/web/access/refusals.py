"""Commands that never reach the core, in the event log all the same, without letting an attacker flood it."""

from __future__ import annotations

import time

from dp_coordinator.limits import TokenBucket
from dp_coordinator.mailbox import EventLog


class RefusalLog:
    """Appends entries at a limited rate; the rest are counted and told with the next one."""

    def __init__(self, log: EventLog, per_second: float) -> None:
        self._log = log
        self._bucket = TokenBucket(per_second, per_second, time.monotonic())
        self._suppressed = 0

    def add(
        self, refusal: str, detail: str, *, reason: str | None, caller: str, kind: str = "manual_start_refused"
    ) -> None:
        """Record one refused attempt. `reason` is None where it was not or could not be read."""
        now = time.monotonic()
        if not self._bucket.take(now):
            self._suppressed += 1
            return
        self._append(now, {"refusal": refusal, "detail": detail, "reason": reason, "caller": caller}, kind)

    def flush(self, now: float) -> None:
        """Tell of attempts that were only counted, once there is room for an entry."""
        if self._suppressed and self._bucket.take(now):
            detail = "further attempts were refused in a short time"
            self._append(now, {"refusal": "suppressed", "detail": detail, "reason": None, "caller": None})

    def _append(self, now: float, fields: dict[str, object], kind: str = "manual_start_refused") -> None:
        if self._suppressed:
            fields["suppressed"] = self._suppressed
            self._suppressed = 0
        self._log.append(now, kind, fields)
