"""Pages of the event log for `GET /api/v1/events`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dp_coordinator.mailbox import LogEntry, Mailbox
from dp_coordinator.messages import Event, EventPage
from dp_coordinator.web.views import WallClock, event


def page(mailbox: Mailbox, clock: WallClock, since: int | None, kinds: Collection[str], limit: int) -> EventPage:
    """Entries after number `since`, oldest first, at most `limit`; without `since` the newest `limit` ones.

    Only entries of `kinds` are given when any are named. Whoever asks again with `since=next_since` misses nothing and
    sees nothing twice, whatever the filter. A `since` beyond the newest number is from an earlier incarnation of the
    coordinator: it counts as 0, and the page says that something was lost.
    """
    held = mailbox.log.since(0)
    last = held[-1].seq if held else 0
    earlier_life = since is not None and since > last
    after = 0 if since is None or earlier_life else since
    wanted = [entry for entry in held if entry.seq > after and (not kinds or entry.kind in kinds)]
    if since is None:
        wanted, rest = wanted[-limit:], []
    else:
        wanted, rest = wanted[:limit], wanted[limit:]
    return EventPage(
        events=[event(entry, clock, Event) for entry in wanted],
        next_since=wanted[-1].seq if rest else last,
        last_seq=last,
        truncated=earlier_life or (since is not None and _misses_some(held, after)),
        started_at=clock.of(mailbox.started_at),
    )


def _misses_some(held: Iterable[LogEntry], after: int) -> bool:
    """Whether of the events after that number some are in no entry that is held."""
    for entry in held:
        if entry.seq > after:
            if entry.first_seq > after + 1:
                return True
            after = entry.seq
    return False
