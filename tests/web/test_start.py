"""POST /api/v1/waves."""

from __future__ import annotations

import json
import socket
from typing import Any

import msgspec
import pytest

from dp_coordinator import messages as m
from dp_coordinator.core.events import ManualStartRequested
from dp_coordinator.texts import shown
from tests.web.rig import Site, complete, site, start_wave
from tests.web.test_rest import problem
from tests.web.watching import received


def test_accepted(fresh: Site) -> None:
    response = fresh.start({"reason": "  wake them  ", "expected_wave": 0, "wave": None})
    made = msgspec.json.decode(response.content, type=m.Action)
    assert response.status_code == 202
    assert response.headers["location"] == f"actions/{made.id}"  # relative to /api/v1/waves
    assert (made.reason, made.caller, made.state, made.wave) == ("wake them", "127.0.0.1", "asked", 0)
    [asked] = [e for e in fresh.mailbox.log.since(0) if e.kind == "manual_start_asked"]
    assert (asked.fields["reason"], asked.fields["caller"]) == ("wake them", "127.0.0.1")
    assert fresh.refusals() == []


def test_the_same_key_gives_the_same_action(fresh: Site) -> None:
    first = fresh.start({"reason": "once"}, Idempotency_Key="k 1")
    again = fresh.start({"reason": "once"}, Idempotency_Key="k 1")
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    asked = [e for e in fresh.mailbox.log.since(0) if e.kind == "manual_start_asked"]
    assert len(asked) == 1
    told = problem(fresh.start({"reason": "another"}, Idempotency_Key="k 1"), 422, "key_reused")
    assert "new key" in told["detail"]


def test_conflicts_are_409_and_logged_once(fresh: Site) -> None:
    told = problem(fresh.start({"reason": "r", "expected_wave": 5}), 409, "wave_mismatch")
    assert told["current_wave"] == 0
    fresh.start()
    problem(fresh.start(), 409, "pending")
    fresh.loop.tick(60)
    fresh.loop.feed(start_wave())
    problem(fresh.start(), 409, "running")
    fresh.loop.feed(complete())
    problem(fresh.start({"reason": "r", "wave": 7}), 422, "wave_invalid")
    assert [r["refusal"] for r in fresh.refusals()] == ["wave_mismatch", "pending", "running", "wave_invalid"]


def test_not_before_all_engines_subscribed() -> None:
    with site() as running:
        problem(running.start(), 409, "not_ready")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "missing required field `reason`"),
        ([], "Expected `object`"),
        ({"reason": 1}, "Expected `str`, got `int` - at `$.reason`"),
        ({"reason": None}, "Expected `str`"),
        ({"reason": ""}, "1 to 500 characters"),
        ({"reason": "   "}, "1 to 500 characters"),
        ({"reason": "x" * 501}, "not 501"),
        ({"reason": "two\nlines"}, "one line"),
        ({"reason": "bell\x07"}, "control characters"),
        ({"reason": "x", "wave": -1}, "`wave` must be null or 0 to"),
        ({"reason": "x", "expected_wave": 2**60}, "`expected_wave` must be"),
        ({"reason": "x", "wave": 1.5}, "Expected `int | null`"),
        ({"reason": "x", "wave": True}, "Expected `int | null`"),
        ({"reason": "x", "wav": 1}, "unknown field `wav`"),
    ],
)
def test_bodies_that_cannot_be_used(shared: Site, body: Any, says: str) -> None:
    before = len(shared.refusals())
    told = problem(shared.start(body), 422, "invalid-body")
    assert says in told["detail"]
    refused = shared.refusals()[before:]
    assert [r["refusal"] for r in refused] == ["invalid-body"]
    given = body.get("reason") if isinstance(body, dict) else None
    assert refused[0]["reason"] == (shown(given, 500) if isinstance(given, str) else None)
    assert refused[0]["caller"] == "127.0.0.1"


@pytest.fixture(scope="module")
def shared() -> Any:
    """As in conftest, but patient: this module makes more attempts than a person would."""
    with site(start_burst=1000, refusals_logged_per_s=1000) as running:
        running.loop.subscribe_all()
        yield running


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b'{"reason":"\\ud800"}', b"null", b'{"reason":"x"}x', b"[" * 9999]
)
def test_bodies_that_are_not_json(shared: Site, raw: bytes) -> None:
    response = shared.http.post("/api/v1/waves", content=raw, headers={"content-type": "application/json"})
    problem(response, 422, "invalid-body")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_only_json_is_taken(shared: Site, kind: str) -> None:
    response = shared.http.post("/api/v1/waves", content=b'{"reason":"x"}', headers={"content-type": kind})
    told = problem(response, 415, "not-json")
    assert "application/json" in told["detail"]


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\there"])
def test_keys_that_cannot_be_used(shared: Site, key: str) -> None:
    before = len(shared.refusals())
    told = problem(shared.start(Idempotency_Key=key), 422, "invalid-parameter")
    assert "1 to 200" in told["detail"]
    assert shared.refusals()[before]["reason"] == "a test"


def test_two_keys_are_one_too_many(shared: Site) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    problem(shared.http.post("/api/v1/waves", json={"reason": "x"}, headers=headers), 422, "invalid-parameter")


def test_a_body_that_says_it_is_too_large(fresh: Site) -> None:
    problem(fresh.start({"reason": "x" * 20_000}), 413, "too-large")
    assert [r["refusal"] for r in fresh.refusals()] == ["too-large"]


def test_a_body_that_turns_out_too_large(fresh: Site) -> None:
    chunks = iter([b'{"reason":"'] + [b"x" * 1000] * 30)
    headers = {"content-type": "application/json"}
    problem(fresh.http.post("/api/v1/waves", content=chunks, headers=headers), 413, "too-large")
    assert [r["refusal"] for r in fresh.refusals()] == ["too-large"]


def test_a_body_of_the_greatest_size_is_read(fresh: Site) -> None:
    padded = json.dumps({"reason": "x"}).ljust(16 * 1024).encode()
    headers = {"content-type": "application/json"}
    assert fresh.http.post("/api/v1/waves", content=padded, headers=headers).status_code == 202


def test_a_body_that_does_not_arrive() -> None:
    with site(body_timeout_s=0.05) as running, socket.create_connection(("127.0.0.1", running.port), 5) as slow:
        slow.sendall(
            b"POST /api/v1/waves HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")
        assert [r["refusal"] for r in running.refusals()] == ["too-slow"]


def test_a_loop_that_does_not_answer() -> None:
    with site(answers=False, answer_timeout_s=0.05) as running:
        response = running.start({"reason": "hello?"})
        told = problem(response, 503, "no-answer")
        assert response.headers["retry-after"]
        assert "nothing was started" in told["detail"]
        assert [r["reason"] for r in running.refusals()] == ["hello?"]
        [(command, reply)] = running.mailbox.inbox.take()
        assert command.reason == "hello?"
        assert reply.cancelled()  # the loop passes over it when it comes back


def test_a_loop_that_goes_away_meanwhile() -> None:
    with site(answers=False) as running:
        running.mailbox.inbox.connect(lambda: running.loop._jobs.put(cancel_all))

        def cancel_all() -> None:
            for _, reply in running.mailbox.inbox.take():
                reply.cancel()

        assert "nothing was started" in problem(running.start(), 503, "no-answer")["detail"]


def test_a_full_inbox() -> None:
    with site(answers=False) as running:
        for _ in range(256):
            running.mailbox.inbox.post(ManualStartRequested("r", "c"))
        problem(running.start(), 503, "inbox-full")
        assert [r["refusal"] for r in running.refusals()] == ["inbox-full"]


def test_a_flood_is_counted_and_told_later() -> None:
    attempts = 20
    with site(refusals_logged_per_s=1) as running:
        for _ in range(attempts):
            running.start({"reason": ""})
        assert len(running.refusals()) < attempts
        told = 0
        with running.stream("?since=0") as viewer:  # the sampler tells the rest once there is room
            for message in received(viewer):
                if isinstance(message, m.EventMessage):
                    fields = message.fields
                    told += (fields["refusal"] != "suppressed") + int(str(fields.get("suppressed", 0)))
                if told == attempts:
                    break
        assert told == attempts


def test_many_starts_are_slowed_down() -> None:
    with site(start_burst=2, starts_per_s=0.001) as running:
        running.loop.subscribe_all()
        statuses = [running.start().status_code for _ in range(3)]
        assert statuses == [202, 409, 429]
        assert running.refusals()[-1]["refusal"] == "too-many-attempts"
