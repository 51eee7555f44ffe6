from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dp_coordinator.mailbox import EventLog, Mailbox
from dp_coordinator.web.api import events
from dp_coordinator.web.views import WallClock
from tests.web.builders import snapshot
from tests.web.rig import ENDPOINTS

CLOCK = WallClock()
KINDS = ["wave_started", "wave_completed", "ready_sent", "bad_frame"]


def filled(kinds: list[str], size: int) -> Mailbox:
    mailbox = Mailbox(snapshot(), ENDPOINTS, min_stats_update_interval=0.1)
    mailbox.log = EventLog(size)
    for kind in kinds:
        mailbox.log.append(1.0, kind, {})
    return mailbox


@settings(max_examples=150, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(KINDS), max_size=40),
    size=st.integers(1, 50),
    since=st.integers(0, 60),
    limit=st.integers(1, 20),
    wanted=st.sets(st.sampled_from([*KINDS, "nothing"])),
)
def test_walking_the_pages_gives_each_held_entry_once(
    kinds: list[str], size: int, since: int, limit: int, wanted: set[str]
) -> None:
    mailbox = filled(kinds, size)
    held = mailbox.log.since(0)
    covered = {number for entry in held for number in range(entry.first_seq, entry.seq + 1)}
    after = since if since <= len(kinds) else 0
    expected = [e.seq for e in mailbox.log.since(after) if not wanted or e.kind in wanted]
    walked: list[int] = []
    position, pages = since, 0
    while True:
        page = events.page(mailbox, CLOCK, position, wanted, limit)
        assert len(page.events) <= limit
        walked += [e.seq for e in page.events]
        lost_some = since > len(kinds) or not covered.issuperset(range(after + 1, len(kinds) + 1))
        assert page.truncated == (lost_some if pages == 0 else page.truncated)
        pages += 1
        if page.next_since == page.last_seq:
            break
        assert page.next_since > position or pages == 1
        position = page.next_since
    assert walked == expected
    assert page.last_seq == len(kinds)


@given(kinds=st.lists(st.sampled_from(KINDS), max_size=20), limit=st.integers(1, 10))
def test_without_since_come_the_newest(kinds: list[str], limit: int) -> None:
    mailbox = filled(kinds, 50)
    page = events.page(mailbox, CLOCK, None, (), limit)
    assert [e.seq for e in page.events] == [e.seq for e in mailbox.log.since(0)][-limit:]
    assert page.next_since == len(kinds)
    assert not page.truncated


def test_a_number_from_an_earlier_life_starts_over_and_says_so() -> None:
    page = events.page(filled(["ready_sent"] * 3, 50), CLOCK, 900, (), 10)
    assert [e.seq for e in page.events] == [1, 2, 3]
    assert page.truncated
