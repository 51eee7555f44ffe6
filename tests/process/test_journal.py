"""The journal file: what comes back, and what is refused rather than guessed."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dp_coordinator.core.snapshot import Remembered
from dp_coordinator.journal import BLOCK, Journal, JournalError, JournalRecord, last_entry
from dp_coordinator.messages import Endpoints
from dp_coordinator.options import Deployment

DEPLOYMENT = Deployment(4, "0.32", True, "tcp://127.0.0.1:*", "ipc:///never/a", "ipc:///never/b")
ENDPOINTS = Endpoints("tcp://127.0.0.1:4711", "ipc:///never/a", "ipc:///never/b")
HTTP = ("127.0.0.1:0", "127.0.0.1:8123")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal")


def live(path: str, *states: Any, deployment: Any = DEPLOYMENT) -> Any:
    """One incarnation: what it finds, after which it writes `states` and dies."""
    journal = Journal(path, deployment)
    journal.begin(ENDPOINTS, HTTP)
    for state in states:
        journal.write(state)
    past = journal.past
    journal.close()
    return past


def standing(path: str) -> JournalRecord:
    """What stands in it now."""
    entry = last_entry(path)
    assert entry is not None
    return entry


def refused(path: str, deployment: Any = DEPLOYMENT) -> str:
    with pytest.raises(JournalError) as caught:
        Journal(path, deployment)
    return str(caught.value)


def test_the_first_life_finds_nothing_and_writes_where_it_begins(path: str) -> None:
    assert live(path) is None
    entry = standing(path)
    assert entry.state == Remembered(0, 4, False)
    assert (entry.incarnations, entry.pid, entry.endpoints, entry.http) == (1, os.getpid(), ENDPOINTS, HTTP)


def test_a_later_life_finds_what_was_written_last(path: str) -> None:
    live(path, Remembered(3, 4, True), Remembered(57, 5, True))
    past = live(path)
    assert (past.state, past.endpoints, past.http, past.incarnations) == (Remembered(57, 5, True), ENDPOINTS, HTTP, 1)
    assert live(path).incarnations == 2
    assert standing(path).state == Remembered(57, 5, True)


def test_a_shorter_entry_leaves_nothing_of_a_longer_one(path: str) -> None:
    live(path, Remembered(10**15, 16_384, True), Remembered(1, 2, True))
    assert live(path).state == Remembered(1, 2, True)


def test_an_empty_file_is_a_first_life(path: str) -> None:
    open(path, "w").close()
    assert live(path) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine_count": 2}, "--engine-count 4, not 2"),
        ({"dialect": "0.33"}, "--dialect 0.32, not 0.33"),
        ({"wave_coordination": False}, "wave coordination True, not False"),
        ({"back_output_address": "ipc:///never/c"}, "--back-output-address ipc:///never/a, not ipc:///never/c"),
    ],
)
def test_a_journal_of_another_deployment_is_refused(path: str, changes: Any, said: str) -> None:
    live(path)
    message = refused(path, replace(DEPLOYMENT, **changes))
    assert said in message
    assert f"--journal {path}" in message


def of_another_format(block: Any) -> Any:
    text = json.dumps({**json.loads(block.rstrip().rpartition(b" ")[0]), "format": "another 1"}).encode()
    return b"%s %08x\n" % (text, zlib.crc32(text))


@pytest.mark.parametrize(
    "damage",
    [
        lambda block: block[:100],
        lambda block: block.replace(b'"current_wave":0', b'"current_wave":7'),
        lambda block: b"\0" * BLOCK,
        lambda block: b"hello\n",
        of_another_format,
    ],
    ids=["cut off", "changed", "zeros", "foreign text", "another format"],
)
def test_a_damaged_journal_is_refused_and_left_alone(path: str, damage: Any) -> None:
    live(path)
    with open(path, "rb") as file:
        damaged = damage(file.read())
    with open(path, "wb") as file:
        file.write(damaged)
    assert "is damaged, or no journal of dp-coordinator" in refused(path)
    assert last_entry(path) is None
    with open(path, "rb") as file:
        assert file.read() == damaged


def test_a_journal_of_an_earlier_format_is_refused_with_the_version_it_needs(path: str) -> None:
    """As 0.1 wrote it."""
    deployment, endpoints = asdict(DEPLOYMENT), asdict(ENDPOINTS)
    entry: dict[str, Any] = {
        "format": "dp-coordinator journal 1",
        "deployment": deployment,
        "endpoints": endpoints,
        "http": HTTP,
    }
    entry |= {"lives": 3, "pid": 17, "state": {"current_wave": 57, "engine_count": 4, "ready": True}}
    text = json.dumps(entry).encode()
    with open(path, "wb") as file:
        file.write((b"%s %08x\n" % (text, zlib.crc32(text))).ljust(BLOCK))
    said = refused(path)
    assert "needs dp-coordinator 0.1;" in said
    assert "go on with that version" in said
    assert last_entry(path) is None


@given(content=st.binary(min_size=1, max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_no_content_is_taken_for_a_journal(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
    refused(path)


def test_only_one_coordinator_has_it_open(path: str) -> None:
    journal = Journal(path, DEPLOYMENT)
    assert "is in use by another coordinator" in refused(path)
    journal.close()
    Journal(path, DEPLOYMENT).close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    assert "cannot be opened for writing: No such file or directory" in refused(str(tmp_path / "none" / "journal"))
    assert "cannot be opened for writing: Is a directory" in refused(str(tmp_path))


def test_addresses_too_long_for_an_entry_are_named(path: str) -> None:
    journal = Journal(path, DEPLOYMENT)
    with pytest.raises(JournalError, match="use shorter addresses"):
        journal.begin(replace(ENDPOINTS, back_output="ipc://" + "x" * BLOCK), None)
    journal.close()


# -- what is no journal ------------------------------------------------------------------------------------------------


def as_fifo(path: str) -> Any:
    os.mkfifo(path)
    return path


def as_link(path: str) -> Any:
    live(f"{path}-there")
    os.symlink(f"{path}-there", path)
    return path


def writable_by_all(path: str) -> Any:
    live(path)
    os.chmod(path, 0o666)
    return path


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (as_fifo, "it is no regular file"),
        (lambda path: os.devnull, "it is no regular file"),
        (as_link, "it is a symbolic link"),
        (writable_by_all, "everybody can write it (mode 0666)"),
    ],
    ids=["a FIFO", "/dev/null", "a symbolic link", "mode 0666"],
)
def test_other_files_are_refused_in_words(path: str, made: Any, said: str) -> None:
    assert said in refused(made(path))


IMPOSSIBLE = {
    "a wave below 0": lambda entry: entry["state"].update(current_wave=-1),
    "a wave that no message carries": lambda entry: entry["state"].update(current_wave=2**63),
    "a wave in words": lambda entry: entry["state"].update(current_wave="7"),
    "half a wave": lambda entry: entry["state"].update(current_wave=1.5),
    "no engines": lambda entry: entry["state"].update(engine_count=0),
    "ready as a number": lambda entry: entry["state"].update(ready=1),
    "no incarnation": lambda entry: entry.update(incarnations=0),
    "no process": lambda entry: entry.update(pid=0),
    "an address that is none": lambda entry: entry["endpoints"].update(front_publish="udp://1.2.3.4:5"),
    "a page that is none": lambda entry: entry.update(http=[1, 2]),
    "half a page": lambda entry: entry.update(http=["127.0.0.1:0"]),
}


@pytest.mark.parametrize("change", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_impossible_values_are_refused_though_the_checksum_is_right(path: str, change: Any) -> None:
    live(path)
    with open(path, "rb") as file:
        entry = json.loads(file.read().rstrip().rpartition(b" ")[0])
    change(entry)
    text = json.dumps(entry).encode()
    with open(path, "wb") as file:
        file.write(b"%s %08x\n" % (text, zlib.crc32(text)))
    assert "is damaged, or no journal of dp-coordinator" in refused(path)


# -- what happens to it while it is used -------------------------------------------------------------------------------


@pytest.fixture
def journal(path: str) -> Any:
    journal = Journal(path, DEPLOYMENT)
    journal.begin(ENDPOINTS, HTTP)
    yield journal
    journal.close()


MEDDLED = {
    "removed": os.unlink,
    "emptied or cut": lambda path: os.truncate(path, 0),
}


@pytest.mark.parametrize(("said", "meddle"), MEDDLED.items(), ids=MEDDLED.keys())
def test_meddling_is_noticed_at_the_next_write_which_mends_it(
    path: str, journal: Journal, said: str, meddle: Any
) -> None:
    meddle(path)
    with pytest.raises(OSError, match=f"was {said} by somebody else"):
        journal.write(Remembered(5, 4, True))
    assert standing(path).state == Remembered(5, 4, True)
    journal.write(Remembered(6, 4, True))
    assert standing(path).state == Remembered(6, 4, True)
    assert "is in use by another coordinator" in refused(path)


def test_a_file_that_took_its_place_is_somebody_elses_and_stays_an_alarm(path: str, journal: Journal) -> None:
    os.rename(path, f"{path}-away")
    with open(path, "w") as other:
        other.write("theirs")
    for wave in (5, 6):
        with pytest.raises(OSError, match="was replaced by somebody else"):
            journal.write(Remembered(wave, 4, True))
    with open(path) as other:
        assert other.read() == "theirs"


def test_begun_again_it_does_not_take_back_what_was_written_since(path: str, journal: Journal) -> None:
    journal.write(Remembered(9, 4, True))
    journal.begin(ENDPOINTS, HTTP)
    assert standing(path).state == Remembered(9, 4, True)


def test_a_file_without_a_name_can_be_one() -> None:
    """What `serve --supervised` gives its workers: nothing is left of it, however they end."""
    with tempfile.TemporaryFile() as file:
        path = f"/dev/fd/{file.fileno()}"
        assert live(path, Remembered(3, 4, True)) is None
        assert live(path).state == Remembered(3, 4, True)
