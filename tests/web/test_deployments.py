"""A row for each other coordinator; and what one tells of itself in a row."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dp_coordinator.sourced import Origin, RankView, SourcesView, Told
from dp_coordinator.web import deployments
from dp_coordinator.words import AlarmKind, SourceKind
from tests.web.receiver import receiver
from tests.web.rig import TOKEN, Site, site, stats


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployments, "ASK_EVERY_S", 0.02)


def rows(running: Site, wanted: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """The rows once they are as wanted."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found: list[dict[str, Any]] = running.get("/api/v1/deployments").json()["deployments"]
        if wanted(found):
            return found
    raise AssertionError(found)


def url(running: Site) -> str:
    return f"http://127.0.0.1:{running.port}"


def test_a_deployment_tells_of_itself_in_a_row() -> None:
    with site(name="prod") as running:
        running.loop.subscribe_all()
        running.loop.feed(stats(1, running=3, waiting=2))
        running.mailbox.troubles = {AlarmKind.PART_MISSING: (time.monotonic() - 3, "The page is gone")}
        while not (told := running.get("/api/v1/summary").json())["alarms"]:
            pass
    assert (told["name"], told["state"], told["engine_count"], told["running"]) == ("prod", "paused", 4, 3)
    [alarm] = told["alarms"]
    assert (alarm["kind"], alarm["severity"], alarm["title"]) == ("part_missing", "warning", "The page is gone")
    assert alarm["age_s"] > 2.9
    assert told["recording"] is False


def test_what_only_sources_tell_is_in_its_row_too() -> None:
    with site() as running:
        at, by = running.mailbox.clock(), Origin(SourceKind.VLLM, "http://10.0.0.1:8000")
        rank = RankView(0, by.target, Told(2, at, by), Told(5, at, by), Told(0.5, at, by))
        running.mailbox.sources = SourcesView(ranks={0: rank})
        told = running.get("/api/v1/summary").json()
        assert (told["waiting"], told["running"]) == (2, 5)


def test_each_shows_the_other_and_a_dead_one_with_its_age() -> None:
    with site(name="a") as first, site(name="b", peers=url(first)) as second:
        [row] = rows(second, lambda found: bool(found) and found[0]["summary"] is not None)
        assert (row["url"], row["summary"]["name"], row["gone"]) == (url(first), "a", None)
        first.server.should_exit = True
        [row] = rows(second, lambda found: found[0]["gone"] is not None and found[0]["heard_age_s"] > 0.5)
        assert row["summary"]["name"] == "a"  # as it was heard last


def test_without_others_there_are_no_rows(shared: Site) -> None:
    assert shared.get("/api/v1/deployments").json() == {"deployments": [], "problem": None}


def test_tokens_come_from_files_and_the_file_of_others_is_read_again(tmp_path: Path) -> None:
    tokens, named = tmp_path / "token", tmp_path / "peers"
    tokens.write_text("wrong-token-of-some-length")
    with site(name="guarded", token=TOKEN) as guarded:
        named.write_text(f"# production\n\n{url(guarded)}\n")
        with site(peers=str(named)) as running:
            rows(running, lambda found: bool(found) and "wants a token" in str(found[0]["gone"]))
            named.write_text(f"{url(guarded)} {tokens}\n")
            rows(running, lambda found: bool(found) and "wants a token" in str(found[0]["gone"]))
            tokens.write_text(TOKEN)
            rows(running, lambda found: found[0]["summary"] is not None and found[0]["gone"] is None)
            tokens.unlink()
            rows(running, lambda found: "cannot be read" in str(found[0]["gone"]))
            named.write_text("nonsense\n")
            while running.get("/api/v1/deployments").json()["problem"] is None:
                pass
            assert len(rows(running, bool)) == 1  # those known before stay
            assert TOKEN not in running.get("/api/v1/deployments").text


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"x" * 100_000, "longer than 65536 bytes"),
        (200, b"{", "no coordinator's summary"),
        (200, b"\xff\xfe", "no coordinator's summary"),
        (200, b'{"name": 3}', "no coordinator's summary"),
        (404, b"", "no coordinator of this version answers there (404)"),
        (302, b"", "it answers 302"),
        (500, b"", "it answers 500"),
    ],
)
def test_whatever_answers_there_is_told_in_words(status: int, body: bytes, why: str) -> None:
    with receiver() as other:
        for _ in range(10_000):
            other.answer(status, body, Location="http://127.0.0.1:1/")
        with site(peers=other.url) as running:
            rows(running, lambda found: bool(found) and why in str(found[0]["gone"]))
            assert running.get("/livez").status_code == 200
        asked = other.next()
    assert (asked.method, asked.path, asked.body) == ("GET", "/api/v1/summary", b"")


def test_what_another_says_is_no_longer_than_it_should_be() -> None:
    with site(name="a") as honest:
        told = honest.get("/api/v1/summary").json()
    alarm = {"kind": "engine_gone", "severity": "critical", "title": "x" * 2000, "age_s": 1.0}
    told |= {"name": "n\x1b\u202e" * 500, "alarms": [alarm] * 20}
    with receiver() as other:
        for _ in range(1000):
            other.answer(200, json.dumps(told).encode())
        with site(peers=other.url) as running:
            [row] = rows(running, lambda found: bool(found) and found[0]["summary"] is not None)
    assert len(row["summary"]["name"]) == 300
    assert row["summary"]["name"].startswith("n\\x1b\\u202en")
    assert {len(each["title"]) for each in row["summary"]["alarms"]} == {300}
