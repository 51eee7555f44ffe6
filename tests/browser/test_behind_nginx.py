"""Two deployments under one host name, and pages that must not take one for the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from dp_coordinator.client import StartWave
from tests.browser.rig import Stack, page, phase, stack
from tests.browser.test_start import ask
from tests.web.nginx import Proxy, location, nginx

TOKEN = "a-token-of-some-length"


@contextmanager
def two_stacks(**options: Any) -> Iterator[tuple[Proxy, Stack, Stack]]:
    """`/` shows the one, with 2 engines, and `/b/` the other, with 3."""
    with stack(2, **options) as one, stack(3, **options) as other:
        ports = [urlsplit(each.url).port or 0 for each in (one, other)]
        with nginx(location("/", ports[0]), location("/b/", ports[1])) as proxy:
            yield proxy, one, other


def root(proxy: Proxy, *, secure: bool) -> str:
    return proxy.secure if secure else proxy.plain


def test_without_the_slash_at_its_end_an_address_leads_to_its_own_deployment(browser: Browser) -> None:
    """As many an ingress rewrites it: `/b` is answered with the page, and not with where it is."""
    with stack(3) as other:
        port = urlsplit(other.url).port or 0
        bare = location("= /b", port)
        with (
            nginx(bare, location("/b/", port)) as proxy,
            page(browser, f"{proxy.plain}/b?x=1#window=15") as tab,
        ):
            expect(tab.locator("tr[data-rank]")).to_have_count(3)
            assert tab.url == f"{proxy.plain}/b/?x=1#window=15"


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("address", ["/b/", "/b", "/b/#window=15"])
def test_a_page_shows_and_starts_its_own_deployment(browser: Browser, secure: bool, address: str) -> None:
    with (
        two_stacks() as (proxy, one, other),
        page(browser, f"{root(proxy, secure=secure)}{address}", ignore_https_errors=True) as tab,
    ):
        expect(tab.locator("tr[data-rank]")).to_have_count(3)
        ask(tab, "a test")
        for engine in other.engines:
            assert engine.receive_start(timeout=10) == StartWave(0, None)
        other.run(0)
        expect(tab.get_by_test_id("outcome")).to_contain_text("all 3 ranks step")
        assert one.rest("state")["state"] == "paused"
        assert one.rest("events?kind=manual_start_requested")["events"] == []
        tab.keyboard.press("Escape")
        tab.keyboard.press("?")
        for name, text in (("docs", "Routes"), ("metrics", "dp_coordinator_engine_count 3.0")):
            tab.get_by_role("link", name=name).click()
            expect(tab.locator("body")).to_contain_text(text)
            tab.go_back()
            tab.keyboard.press("?")


def log_in(tab: Page) -> None:
    tab.get_by_label("Token").fill(TOKEN)
    tab.get_by_role("button", name="Sign in").click()
    phase(tab, "PAUSED")


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_logging_in_at_one_does_not_log_out_of_the_other(browser: Browser, secure: bool) -> None:
    with two_stacks(token=TOKEN) as (proxy, _, _):
        context: BrowserContext = browser.new_context(ignore_https_errors=True)
        try:
            tabs = [context.new_page(), context.new_page()]
            for tab, path, count in zip(tabs, ("/", "/b/"), (2, 3), strict=True):
                tab.goto(f"{root(proxy, secure=secure)}{path}")
                log_in(tab)
                expect(tab.locator("tr[data-rank]")).to_have_count(count)
            for tab in tabs:
                tab.reload()
                phase(tab, "PAUSED")
            cookies = context.cookies(f"{root(proxy, secure=secure)}/b/")
            assert {cookie["path"] for cookie in cookies} == {"/", "/b/"}
            assert len({cookie["name"] for cookie in cookies}) == 2
        finally:
            context.close()


def test_why_the_stream_is_refused_is_told(browser: Browser) -> None:
    with stack(2) as made:
        with nginx(location("/", urlsplit(made.url).port or 0), upgrade="") as proxy, page(browser, proxy.plain) as tab:
            expect(tab.get_by_text("a proxy must pass the handshake on")).to_be_visible()
        with (
            nginx(location("/", urlsplit(made.url).port or 0), host="$host") as proxy,
            page(browser, proxy.plain) as tab,
        ):
            expect(tab.get_by_text("a proxy must pass the whole Host")).to_be_visible()
