"""Which requests a front-end has sent and not seen answered. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from dp_coordinator.simulation.traffic import Size


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that is at an engine."""

    id: int
    size: Size
    engine: int
    at: float
    """When it was sent, in seconds."""


@dataclass(slots=True)
class Totals:
    """What became of all requests so far."""

    sent: int = 0
    finished: int = 0
    resent: int = 0
    """Times that a request was sent again, because its engine did not answer in time."""


class Outstanding:
    """Requests in flight, oldest first, and the count of all."""

    def __init__(self, timeout_s: float) -> None:
        """`timeout_s` seconds without an answer make a request overdue; 0 means never."""
        self._timeout_s = timeout_s
        self._sent: dict[int, Sent] = {}
        self.totals = Totals()

    def __len__(self) -> int:
        return len(self._sent)

    def add(self, sent: Sent) -> None:
        """Keep a request that has just been sent for the first time or again."""
        self._sent.pop(sent.id, None)
        self._sent[sent.id] = sent

    def finish(self, number: int) -> Sent | None:
        """Take out an answered request; None when it is not waited for, such as the second answer to one sent twice."""
        sent = self._sent.pop(number, None)
        if sent is not None:
            self.totals.finished += 1
        return sent

    def overdue(self, now: float) -> list[Sent]:
        """Take out the requests that wait too long."""
        if not self._timeout_s:
            return []
        late = [sent for sent in self._sent.values() if now - sent.at >= self._timeout_s]
        for sent in late:
            del self._sent[sent.id]
        return late

    def next_overdue_at(self) -> float | None:
        """When the oldest one becomes overdue; None when none can."""
        if not self._timeout_s or not self._sent:
            return None
        return next(iter(self._sent.values())).at + self._timeout_s
