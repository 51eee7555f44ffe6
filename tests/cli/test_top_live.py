"""`dp-coordinator top`: what is known after each message, and when it tries again."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from dp_coordinator.cli.top.live import LOG_SIZE, Live, Note, apply, parse
from dp_coordinator.cli.top.stream import retry_delay
from dp_coordinator.messages import GapMessage
from tests.cli.run import environment
from tests.cli.scenes import (
    HELLO,
    event,
    live,
    snapshot,
)


@pytest.mark.parametrize(
    "frame",
    ["", "{", "null", "3", '{"type": "news"}', '{"type": "snapshot"}', '{"type": "hello", "protocol": 2}', "[1]", "[{"],
)
def test_what_is_not_understood_is_counted_and_changes_nothing(frame: str) -> None:
    known = live(event(1))
    after = apply(known, parse(frame), 11.0)
    assert after.ignored == 1
    assert (after.snapshot, after.log, after.last_seq) == (known.snapshot, known.log, 1)


def test_frames_are_read_as_they_are_written() -> None:
    events = [event(1), event(2)]
    assert parse(msgspec.json.encode(events)) == events
    for message in (HELLO, snapshot(), GapMessage(1, 2)):
        assert parse(msgspec.json.encode(message)) == [message]


def numbers(known: Live) -> list[object]:
    return [entry.text if isinstance(entry, Note) else entry.seq for entry in known.log]


def test_replayed_events_stand_once_and_missing_ones_are_said() -> None:
    known = live(event(1), event(2), event(2), event(1), event(5), GapMessage(6, 6), GapMessage(3, 4), event(7))
    assert numbers(known) == [1, 2, "events 3 to 4 are no longer held", 5, "event 6 is no longer held", 7]
    assert known.last_seq == 7
    assert len(apply(known, [event(seq) for seq in range(8, 5000)], 11.0).log) == LOG_SIZE


def test_a_restart_keeps_the_past_as_such_and_asks_for_the_new_log_from_its_beginning() -> None:
    known = live(event(1), event(2))
    born = msgspec.structs.replace(HELLO, started_at=1105.0, now=1106.0, replay_from=3)
    after = apply(known, [born], 12.0)
    assert (after.incarnation, after.snapshot, after.last_seq, after.must_replay) == (1, None, 0, True)
    assert [(wave.number, wave.open, wave.duration_s) for wave in after.earlier] == [(6, False, None), (5, False, 90.0)]
    assert "restarted" in str(numbers(after)[-1])
    again = apply(after, [msgspec.structs.replace(born, now=1106.1, replay_from=1), event(1)], 12.1)
    assert (again.incarnation, again.must_replay, numbers(again)[-1]) == (1, False, 1)


def test_a_wall_clock_that_was_set_is_no_restart() -> None:
    moved = msgspec.structs.replace(HELLO, started_at=5000.0, now=5102.0)
    assert apply(live(), [moved], 12.0).incarnation == 0


def test_tries_come_further_apart_but_not_too_far() -> None:
    assert [round(retry_delay(attempt, 0.5)) for attempt in range(7)] == [1, 2, 4, 8, 10, 10, 10]
    assert retry_delay(0, 0.0) == pytest.approx(0.8)


def test_without_rich_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['rich'] = None; from dp_coordinator.cli import main; sys.exit(main(['top']))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == (
        "dp-coordinator top: this needs Rich, which is not installed: pip install 'dp-coordinator[top]'.\n"
    )
