"""Messages to a webhook: what they say, and what becomes of those that are not taken."""

from __future__ import annotations

import hashlib
import hmac
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dp_coordinator.messages_told import AlarmMessage
from dp_coordinator.web.telling import webhook
from dp_coordinator.words import AlarmKind
from tests.browser.fixture import fleet
from tests.web.receiver import Got, Receiver, receiver
from tests.web.rig import Site, site

WRONG = "The token's file is gone"
RIG: dict[str, Any] = {"sample_interval_s": 0.01}


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(webhook, "PAUSES_S", (0.01,))
    with receiver() as made:
        yield made


@contextmanager
def told_to(hook: Receiver, **more: Any) -> Iterator[Site]:
    with site(webhook=f"{hook.url}/hook?key=1", **(RIG | more)) as running:
        running.loop.subscribe_all()
        yield running


def goes_wrong(running: Site, title: str = WRONG) -> None:
    running.mailbox.troubles = {AlarmKind.PART_MISSING: (time.monotonic() - 3, title)}


def is_mended(running: Site) -> None:
    running.mailbox.troubles = {}


def logged(running: Site, kind: str) -> list[dict[str, Any]]:
    return [dict(entry.fields) for entry in running.mailbox.log.since(0) if entry.kind == kind]


def test_one_message_when_it_is_raised_and_one_when_it_clears(hook: Receiver) -> None:
    with told_to(hook, name="prod", public_url="https://dp.example.com/a") as running:
        goes_wrong(running)
        raised = hook.next()
        is_mended(running)
        cleared = hook.next()
        assert hook.nothing_more()
    assert (raised.method, raised.path) == ("POST", "/hook?key=1")
    assert raised.headers["Content-Type"] == "application/json"
    assert raised.headers["User-Agent"].startswith("dp-coordinator/")
    told, over = raised.told, cleared.told
    assert (told["event"], over["event"]) == ("raised", "cleared")
    assert told["incident"] == over["incident"]
    assert raised.headers["Idempotency-Key"] == f"{told['incident']}-raised"
    assert (told["deployment"], told["alarm"], told["severity"], told["title"]) == (
        "prod",
        "part_missing",
        "warning",
        WRONG,
    )
    assert told["remedy"]
    assert told["link"] == f"https://dp.example.com/a/#at={told['at']:.3f}"
    assert told["at"] - told["since"] > 2.9
    assert told["lasted_s"] is None
    assert over["lasted_s"] > 2.9
    assert over["text"].startswith("prod: cleared after 3")
    assert set(told) == set(over) == set(AlarmMessage.__struct_fields__)


def test_slack_is_told_in_its_own_words_and_nothing_in_them_is_markup(hook: Receiver) -> None:
    with told_to(hook, webhook_format="slack", name="<!channel> & co") as running:
        goes_wrong(running, "File <http://evil.example|click> is gone")
        told = hook.next().told
    assert set(told) == {"text"}
    assert "&lt;!channel&gt; &amp; co: warning: File &lt;http://evil.example|click&gt; is gone" in told["text"]
    assert "<http://127.0.0.1:0/#at=" in told["text"]


def test_a_message_is_signed_with_the_secret_as_its_file_has_it_now(hook: Receiver, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("first-secret\n")
    with told_to(hook, webhook_secret_file=str(secret)) as running:
        goes_wrong(running)
        assert_signed(hook.next(), "first-secret")
        secret.write_text("second-secret\n")
        is_mended(running)
        assert_signed(hook.next(), "second-secret")


def assert_signed(got: Got, secret: str) -> None:
    timestamp = got.headers["X-DP-Coordinator-Timestamp"]
    assert abs(time.time() - int(timestamp)) < 60
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + got.body, hashlib.sha256).hexdigest()
    assert got.headers["X-DP-Coordinator-Signature"] == f"sha256={digest}"


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [
        (500, {}, "it answers 500 Internal Server Error"),
        (302, {"Location": "http://127.0.0.1:1/else"}, "a redirection, which is not followed"),
        (429, {"Retry-After": "0"}, "it answers 429 Too Many Requests"),
        (404, {}, "it answers 404 Not Found"),
        (799, {}, "it answers 799"),
    ],
)
def test_what_is_not_taken_is_posted_again_the_same_and_in_order(
    hook: Receiver, status: int, headers: dict[str, str], why: str
) -> None:
    for _ in range(2):
        hook.answer(status, b"", **headers)
    with told_to(hook) as running:
        goes_wrong(running)
        tries = [hook.next() for _ in range(3)]
        is_mended(running)
        assert hook.next().told["event"] == "cleared"
        while 'outcome="delivered"} 2.0' not in (metrics := running.get("/metrics").text):
            time.sleep(0.01)
        assert logged(running, "webhook_works_again")
    assert len({(got.body, got.headers["Idempotency-Key"]) for got in tries}) == 1
    [failed] = logged(running, "webhook_failed")
    assert why in failed["detail"]
    assert "dp_coordinator_webhook_failed_tries_total 2.0" in metrics


def test_a_message_that_is_refused_again_and_again_makes_way_for_the_next(hook: Receiver) -> None:
    for _ in range(webhook.REFUSALS_AT_MOST):
        hook.answer(400)
    with told_to(hook) as running:
        goes_wrong(running)
        for _ in range(webhook.REFUSALS_AT_MOST):
            assert hook.next().told["event"] == "raised"
        is_mended(running)
        assert hook.next().told["event"] == "cleared"
        [given_up] = logged(running, "webhook_gave_up")
        assert "raised: The token's file is gone (it answers 400 Bad Request)" in given_up["detail"]
        alarms = running.get("/api/v1/alarms").json()["alarms"]
        assert [each["kind"] for each in alarms] == ["webhook_failing"]


def test_nobody_there_is_an_alarm_of_which_nobody_is_told(hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "FAILING_AFTER_S", 0.05)
    for _ in range(10_000):
        hook.answer(503)
    with told_to(hook) as running:
        goes_wrong(running)
        while not any(each["alarm"] == "webhook_failing" for each in logged(running, "alarm_raised")):
            time.sleep(0.01)
        [alarm] = [each for each in running.get("/api/v1/alarms").json()["alarms"] if each["kind"] == "webhook_failing"]
        assert alarm["title"] == "The webhook does not take messages: it answers 503 Service Unavailable (1 waiting)"
        while not hook.answers.empty():
            hook.answers.get()
        while not logged(running, "alarm_cleared"):
            time.sleep(0.01)
        told = {hook.got.get().told["alarm"] for _ in range(hook.got.qsize())}
    assert told == {"part_missing"}


def test_a_huge_answer_is_not_read_and_an_address_where_nobody_is_does_no_harm() -> None:
    with receiver() as gone:
        pass
    with site(webhook=gone.url, **RIG) as running:
        goes_wrong(running)
        while not logged(running, "webhook_failed"):
            time.sleep(0.01)
        assert running.get("/livez").status_code == 200
    [failed] = logged(running, "webhook_failed")
    assert "onnect" in failed["detail"]
    assert "\n" not in failed["detail"]
    with receiver() as huge:
        huge.answer(200, b"x" * 10_000_000)
        with site(webhook=huge.url, **RIG) as running:
            goes_wrong(running)
            while not logged(running, "webhook_failed"):
                time.sleep(0.01)
    assert "longer than 16384 bytes" in logged(running, "webhook_failed")[0]["detail"]


def test_one_raise_and_one_clear_across_a_kill() -> None:
    """The coordinator is killed the moment that its message arrives: it has not even seen the answer."""
    faults: set[str] = set()
    stop = threading.Event()
    options: dict[str, Any] = {"supervised": True, "name": "killed", "alarm_missing_s": 0.2}
    with receiver() as hook, fleet(2, lambda: faults, webhook=hook.url, **options) as (coordinator, ranks):
        running = threading.Thread(target=ranks.run, args=(stop,))
        running.start()
        try:
            faults.add("engine-gone")
            seen = [hook.next().told]
            os.kill(coordinator.worker_pid(), signal.SIGKILL)
            seen.append(hook.next().told)  # of the restart, which is not over without that engine
            faults.clear()
            while len(seen) < 4:
                seen.append(hook.next().told)
        finally:
            stop.set()
            running.join()
        assert hook.nothing_more()
    gone = [told for told in seen if told["alarm"] == "engine_gone"]
    assert [told["event"] for told in gone] == ["raised", "cleared"]
    assert gone[0]["incident"] == gone[1]["incident"]
    assert [told["event"] for told in seen if told["alarm"] == "recovery_under_way"] == ["raised", "cleared"]
