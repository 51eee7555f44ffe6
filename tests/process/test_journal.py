"""The journal file: what comes back, and what is refused rather than guessed."""

from __future__ import annotations

import json
import os
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
