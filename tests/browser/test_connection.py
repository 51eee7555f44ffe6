"""The connection: lost, found again, refused, and with nonsense on it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.browser.rig import Stack, assert_accessible, page, phase, rank, stack, stat

STREAM = re.compile(r"/api/v1/stream")
TOKEN = "a-token-of-some-length"


def lost(tab: Page) -> None:
    expect(tab.get_by_role("alert").filter(has_text="Disconnected")).to_be_visible()


def test_a_lost_coordinator_is_said_loudly_and_found_again(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        made.run(0)
        phase(tab, "RUNNING")
        made.coordinator.proc.kill()
        lost(tab)
        expect(tab.get_by_text(re.compile(r"Next try in \d+ s"))).to_be_visible()
        expect(tab.get_by_text(re.compile(r"[a-z]\. All numbers below are .* old"))).to_be_visible()
        expect(tab.locator(".age-old")).to_contain_text("old")
        expect(rank(tab, 0).locator(".col-status")).to_have_text("unknown")
        expect(tab.locator("#start-why")).to_contain_text("not connected")
        assert tab.title().startswith("Disconnected")
        assert_accessible(tab)
        with tab.expect_request("**/api/v1/session"):
            tab.get_by_role("button", name="Try now").click()
        lost(tab)
        restarted = Stack(2, http=urlsplit(made.url).netloc)
        try:
            expect(tab.locator(".lost")).to_be_hidden(timeout=15_000)
            expect(tab.get_by_role("heading", name="Waiting for engines: 0 of 2")).to_be_visible()
            expect(tab.locator("#log .log-marker")).to_contain_text("Coordinator restarted")
            kinds = tab.locator("#log li").evaluate_all("all => all.map(li => li.dataset.kind ?? 'cut')")
            assert kinds[:2] == ["coordinator_started", "cut"]  # and below it what the earlier one said
            expect(tab.get_by_test_id("restarts")).to_have_count(0)  # this one is another, and did not come back
        finally:
            restarted.close()


def test_a_cut_stream_resumes_by_itself_without_a_gap(browser: Browser) -> None:
    with stack() as made, page(browser, "about:blank") as tab:
        streams: list[WebSocketRoute] = []

        def pass_on(stream: WebSocketRoute) -> None:
            streams.append(stream)
            stream.connect_to_server()

        tab.route_web_socket(STREAM, pass_on)
        tab.goto(made.url)
        made.run(0)
        phase(tab, "RUNNING")
        streams[0].close()
        lost(tab)
        made.complete(0)
        phase(tab, "PAUSED")
        expect(tab.locator(".lost")).to_be_hidden()
        assert "since=0" not in streams[-1].url
        expect(tab.locator("#log li[data-kind=wave_started]")).to_have_count(1)
        expect(tab.locator("#log li[data-kind=wave_completed]")).to_have_count(1)
        expect(tab.locator("#log .log-marker")).to_have_count(0)


def test_malformed_messages_are_counted_and_do_no_harm(browser: Browser) -> None:
    with stack() as made, page(browser, "about:blank") as tab:

        def spoil(stream: WebSocketRoute) -> None:
            stream.connect_to_server()
            for nonsense in ("{nonsense", "[]", '{"type":"snapshot"}', '{"type":"from_the_future","x":1}', ""):
                stream.send(nonsense)

        tab.route_web_socket(STREAM, spoil)
        tab.goto(made.url)
        made.run(0)
        phase(tab, "RUNNING")
        expect(stat(tab, "Running")).to_have_text("3")
        expect(tab.get_by_test_id("ignored")).to_have_text("5 messages not understood")


def test_a_page_of_another_protocol_asks_to_be_loaded_again(browser: Browser) -> None:
    with stack() as made, page(browser, "about:blank") as tab:
        tab.route_web_socket(STREAM, lambda stream: stream.send('{"type":"hello","protocol":99}'))
        tab.goto(made.url)
        expect(tab.get_by_role("alert")).to_contain_text("load the page again")
        expect(tab.get_by_role("button", name="Reload")).to_be_visible()


def test_a_token_is_asked_for_and_never_in_the_address(browser: Browser) -> None:
    with stack(token=TOKEN) as made, page(browser, made.url) as tab:
        field = tab.get_by_label("Token")
        expect(field).to_be_focused()
        assert_accessible(tab)
        field.fill("wrong")
        field.press("Enter")
        expect(tab.get_by_role("alert")).not_to_be_empty()
        field.fill(TOKEN)
        tab.get_by_role("button", name="Sign in").click()
        phase(tab, "PAUSED")
        assert TOKEN not in tab.url
        assert tab.evaluate("document.cookie + JSON.stringify({...localStorage})") == "{}"
        tab.reload()
        phase(tab, "PAUSED")
