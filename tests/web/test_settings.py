from __future__ import annotations

from typing import Any

import pytest

from dp_coordinator.settings import SettingsError
from dp_coordinator.web.app import create_app
from dp_coordinator.web.settings import WebSettings, check_exposure, is_loopback
from tests.web.rig import TOKEN, fresh_mailbox


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost", "LOCALHOST", "::ffff:127.0.0.1"]
)
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    check_exposure(WebSettings(host=host))


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "10.0.0.1", "example.com", "127.0.0.1.example.com", "::ffff:10.0.0.1", "localhost.evil"],
)
def test_any_other_address_needs_a_token_or_a_loud_word(host: str) -> None:
    with pytest.raises(SettingsError, match="without a token") as refused:
        check_exposure(WebSettings(host=host))
    for way_out in ("--token-file", "DP_COORDINATOR_TOKEN", "127.0.0.1", "--trust-network-without-token"):
        assert way_out in str(refused.value)
    check_exposure(WebSettings(host=host, token=TOKEN))
    check_exposure(WebSettings(host=host, trust_network_without_token=True))


@pytest.mark.parametrize("token", ["", " ", "two words", "line\n", "é" * 20])
def test_tokens_that_no_header_can_carry_are_refused_everywhere(token: str) -> None:
    with pytest.raises(SettingsError, match="visible ASCII"):
        check_exposure(WebSettings(token=token))


def test_a_short_token_does_not_guard_an_address_others_can_reach() -> None:
    check_exposure(WebSettings(token="short"))
    with pytest.raises(SettingsError, match="5 characters"):
        check_exposure(WebSettings(host="0.0.0.0", token="short"))


def test_no_app_is_made_for_exposed_settings() -> None:
    mailbox, _ = fresh_mailbox()
    exposed: dict[str, Any] = {"host": "0.0.0.0"}
    with pytest.raises(SettingsError):
        create_app(mailbox, WebSettings(**exposed))
