"""What outlives the process beside the journal's block."""

from __future__ import annotations

from pathlib import Path

import pytest

from dp_coordinator.journal import Journal
from dp_coordinator.messages import Endpoints
from dp_coordinator.notes import AT_MOST, FIRST_AT, PLACE, Notes
from dp_coordinator.options import Deployment


def test_the_newest_note_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    (tmp_path / "journal").touch()
    assert Notes(path).read() is None
    for text in (b"one", b"two", b"", b"x" * AT_MOST):
        notes = Notes(path)
        notes.read()
        notes.write(text)
        assert Notes(path).read() == text


def test_a_note_cut_short_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.touch()
    notes = Notes(str(path))
    notes.write(b"one" * 1000)
    notes.write(b"two" * 1000)
    with path.open("r+b") as file:  # the second note is in the first place
        file.seek(FIRST_AT + 100)
        file.write(b"\0" * 200)
    assert Notes(str(path)).read() == b"one" * 1000


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 3 * PLACE, b"dpnotes1" * PLACE])
def test_what_is_no_note_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b" " * FIRST_AT + content)
    assert Notes(str(path)).read() is None
    assert Notes(str(tmp_path / "not there")).read() is None


def test_too_long_a_note_and_a_file_that_has_gone_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.touch()
    with pytest.raises(OSError, match="too long"):
        Notes(str(path)).write(b"x" * (AT_MOST + 1))
    with pytest.raises(OSError, match="No such file"):
        Notes(str(tmp_path / "gone")).write(b"x")


def test_journal_and_notes_leave_each_other_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    ends = Endpoints("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3")
    first = Journal(path, Deployment(4))
    Notes(path).write(b"told")
    first.begin(ends, None)
    first.close()
    second = Journal(path, Deployment(4))
    try:
        assert second.past is not None
        assert second.past.endpoints == ends
        assert Notes(path).read() == b"told"
    finally:
        second.close()
