"""What strangers wrote is cut where it enters, and shown without anything that steers, reorders or hides."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_coordinator import sentences
from dp_coordinator.cli import render
from dp_coordinator.eventlog import EVENT_LOG_BYTES
from dp_coordinator.logs import OneLine
from dp_coordinator.mailbox import EventLog, Mailbox
from dp_coordinator.messages import Endpoints
from dp_coordinator.processes import title_of
from dp_coordinator.texts import AT_MOST, is_plain, shown, shown_within
from dp_coordinator.web.alarms import AlarmBoard
from dp_coordinator.web.problems import ProblemError
from dp_coordinator.web.settings import WebSettings
from dp_coordinator.web.stream.feed import EVENT_BYTES_A_FRAME, Feed
from dp_coordinator.web.stream.viewer import Viewer
from dp_coordinator.web.views import WallClock
from dp_coordinator.wire.coordinator import BadFrameError, front_end_event
from tests.transport.rig import pack, rig
from tests.waiting import wait_until
from tests.web.builders import snapshot
from tests.web.watching import Wire
from tests.wire.outputs import engine_events

HOSTILE = "\x1b]0;owned\x07\r\n\u202egnp.exe\u2066\u200b\u200d\ufeff\u2028\u2029\x85\x9b31m\u034f\u3164\ufe0f\ud800"
SEEN = r"\x1b]0;owned\x07\r\n\u202egnp.exe\u2066\u200b\u200d\ufeff\u2028\u2029\x85\x9b31m\u034f\u3164\ufe0f\ud800"


def test_every_kind_of_character_that_is_not_plainly_seen_is_escaped() -> None:
    assert shown(HOSTILE) == SEEN
    assert shown("Grüße, 東京 und שלום 🙂") == "Grüße, 東京 und שלום 🙂"


@given(st.text(st.characters(), max_size=400), st.integers(10, 300))
def test_what_was_made_fit_is_short_and_stays_as_it_is(text: str, at_most: int) -> None:
    fit = shown(text, at_most)
    assert len(fit) <= at_most
    assert is_plain(fit)
    assert shown(fit, at_most) == fit
    assert not {unicodedata.category(c) for c in fit} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_within_lists_and_mappings_too() -> None:
    told, size = shown_within({"a\x1b": ["\u202e", {"b": ("\x00" * 10_000, 3, None)}]})
    assert told == {r"a\x1b": [r"\u202e", {"b": [shown("\x00" * 10_000, 2000), 3, None]}]}
    assert 2000 < size < 5000


def fault(read: Callable[[bytes], object], frame: bytes) -> str:
    """What is said of a frame; nothing of one that is tolerated."""
    try:
        read(frame)
    except BadFrameError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("text", ["x" * 900_000, "\u202e" * 300_000])
def test_a_fault_quotes_a_frame_no_further_than_people_read(text: str) -> None:
    for read in (engine_events, lambda frame: front_end_event(frame, 2)):
        for body in ([text], [0, [], {"num_waiting_reqs": text}], {text: text}, text, [0, [], {text: 1.5}]):
            said = fault(read, pack(body))
            assert len(said) <= AT_MOST
            assert is_plain(said)


def test_a_flood_of_long_texts_takes_no_more_than_its_bytes(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        r.ready_engines()
        output = r.output()
        for _ in range(30):
            output.send(pack([0, [], {"num_waiting_reqs": "\u202e" + "x" * 900_000}]))
        wait_until(lambda: r.frames("back_output", "cut_off"), "that it is cut off")
        assert r.frames("back_output", "bad_field")
        bad = [entry for entry in r.mailbox.log.since(0) if entry.kind == "bad_frame"]
    assert bad
    for entry in bad:
        assert len(msgspec.json.encode(entry.fields)) < 1000
        assert is_plain(sentences.event(entry.kind, entry.fields).text)


def test_the_event_log_is_bounded_in_bytes() -> None:
    log = EventLog()
    for number in range(5000):
        log.append(0.0, "foreign", {"n": number, "texts": ["é" * 2000] * 20})
    entries = log.since(0)
    assert entries[-1].seq == 5000
    assert [entry.seq for entry in entries] == list(range(5001 - log.held, 5001))
    assert log.held * 20 * 2000 * 4 <= EVENT_LOG_BYTES
    log.append(0.0, "huge", {"texts": ["é" * 2000] * 10_000})
    assert [entry.seq for entry in log.since(0)] == [5001]  # one is always held


def test_what_a_viewer_is_sent_at_once_is_bounded_in_bytes() -> None:
    async def frames() -> list[bytes]:
        mailbox = Mailbox(snapshot(), Endpoints("", "", ""), min_stats_update_interval=0.1)
        settings, clock, log = WebSettings(), WallClock(), mailbox.log
        feed = Feed(mailbox, clock, AlarmBoard(mailbox, settings))
        for number in range(3000):
            log.append(0.0, "foreign", {"n": number, "text": "x" * 2000})
        feed.take_events()
        viewer = Viewer(Wire(), 0)  # type: ignore[arg-type]
        made = []
        while (frame := feed.next(viewer)) is not None:
            made.append(frame)
        assert viewer.seen == 3000
        return made

    made = asyncio.run(frames())
    assert all(len(frame) < EVENT_BYTES_A_FRAME + 8000 for frame in made)
    assert sum(map(len, made)) < 4 * EVENT_LOG_BYTES


def test_a_line_of_the_log_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError as error:
        record = logging.LogRecord("a", 1, __file__, 1, "refused %s", (HOSTILE,), (type(error), error, None))
    line, *traceback = OneLine("%(message)s").format(record).split("\n")
    assert line == f"refused {SEEN}"
    assert all(is_plain(part) for part in traceback)


def test_the_title_of_a_process_and_a_problem_and_what_a_command_prints() -> None:
    hostile = "\x1b]0;owned\x07\u202e\u200b"
    wait = "import sys; sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", wait, hostile, "x" * 500], stdin=subprocess.PIPE)
    try:
        wait_until(lambda: b"sys.stdin" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), "it runs")
        title = title_of(process.pid)
    finally:
        process.communicate()
    assert r"\x1b]0;owned\x07\u202e\u200b" in title
    assert len(title) <= 120
    assert title.startswith(f"{Path(sys.executable).name} -c ")  # not where it lies
    assert ProblemError("invalid-body", hostile * 1000).detail.startswith(r"\x1b]0;owned\x07\u202e\u200b")
    assert is_plain(render.clean(hostile))
