"""The token's file: read again when it changes, and said to be weak where it is."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError

from dp_coordinator import values
from dp_coordinator.values import BadValueError, token_in
from dp_coordinator.web.access import token as module
from dp_coordinator.web.access.token import Token
from dp_coordinator.web.settings import WebSettings
from tests.web.rig import TOKEN, Site, site
from tests.web.test_security import BEARER, cookie_of, login

OTHER = "another-token-of-decent-length"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "token"
    made.write_text(f"{TOKEN}\n")
    made.chmod(0o600)
    return made


@pytest.fixture
def guarded(file: Path) -> Iterator[Site]:
    with site(token=TOKEN, token_file=str(file), heartbeat_s=0.02, sample_interval_s=0.01) as running:
        yield running


def test_a_new_token_counts_at_once_and_ends_what_the_old_one_opened(guarded: Site, file: Path) -> None:
    cookie = {"cookie": cookie_of(login(guarded))}
    with guarded.stream(additional_headers=BEARER) as by_token, guarded.stream(additional_headers=cookie) as by_login:
        by_token.recv(5)
        by_login.recv(5)
        file.write_text(OTHER)
        for viewer in (by_token, by_login):
            with pytest.raises(ConnectionClosedError):
                list(viewer)
            assert viewer.close_code == 1008
    assert guarded.get("/api/v1/state", headers=BEARER).status_code == 401
    assert guarded.get("/api/v1/state", headers=cookie).status_code == 401
    assert guarded.get("/api/v1/state", headers={"authorization": f"Bearer {OTHER}"}).status_code == 200
    assert login(guarded, OTHER).status_code == 200


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe"])
def test_a_file_that_cannot_be_used_changes_nothing(
    guarded: Site, file: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(content)
    assert guarded.get("/api/v1/state", headers=BEARER).status_code == 200
    assert "the old token stays" in caplog.text
    file.unlink()
    assert guarded.get("/api/v1/state", headers=BEARER).status_code == 200
    file.write_text(OTHER)
    assert guarded.get("/api/v1/state", headers=BEARER).status_code == 401


def test_one_that_is_replaced_with_the_same_token_ends_nothing(guarded: Site, file: Path) -> None:
    cookie = {"cookie": cookie_of(login(guarded))}
    fresh = file.with_name("fresh")
    fresh.write_text(TOKEN)
    fresh.replace(file)
    assert guarded.get("/api/v1/state", headers=cookie).status_code == 200


def test_a_token_that_is_too_short_for_the_network_is_not_taken_over(file: Path) -> None:
    token = Token(WebSettings(host="0.0.0.0", token=TOKEN, token_file=str(file)))
    file.write_text("short")
    token.look()
    assert token.matches(TOKEN)


def test_what_can_be_read_only_once_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    token = Token(WebSettings(token=TOKEN, token_file=str(tmp_path / "pipe")))
    token.look()  # would wait for a writer
    assert token.matches(TOKEN)


def test_weak_tokens_and_open_files_are_said_to_be(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    Token(WebSettings(token=TOKEN, token_file=str(file)))
    assert caplog.messages == []
    file.chmod(0o644)
    Token(WebSettings(token="x", token_file=str(file)))
    assert "can be read by everybody on this machine: chmod o-r it" in caplog.text
    assert "the token has only 1 character, which can be guessed" in caplog.text


def test_a_pipe_is_waited_for_at_the_first_start_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a restart the loop would stand still, and be killed for it, again and again."""
    os.mkfifo(pipe := tmp_path / "pipe")
    writing = threading.Thread(target=pipe.write_text, args=(TOKEN,))
    writing.start()
    assert token_in(str(pipe)) == TOKEN
    writing.join()
    monkeypatch.setattr(values, "previous_end", lambda: "was killed")

    def read() -> None:
        with suppress(BadValueError):
            token_in(str(pipe))

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(4.0)
    assert not reading.is_alive()
