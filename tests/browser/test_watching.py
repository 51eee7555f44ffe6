"""The page of `watch`: ranks that sources tell of, and nothing that could be started."""

from __future__ import annotations

import re
from contextlib import ExitStack

from playwright.sync_api import Browser, expect

from tests.browser.rig import assert_accessible, page, phase
from tests.cli.run import running
from tests.sources.standin import metrics, never, served


def test_ranks_by_their_metrics_and_no_start(browser: Browser) -> None:
    with ExitStack() as stack:
        pages = metrics(0, running=2, steps=5), metrics(1, running=31, waiting=1, usage=0.5)
        one, other = stack.enter_context(served(*pages))
        command = ["watch", "--http", "127.0.0.1:0", "--scrape-interval", "0.2", "--scrape-timeout", "1"]
        process = stack.enter_context(running(*command, "--scrape", one.url, "--scrape", other.url))
        assert process.stdout is not None
        process.stdout.readline()
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        tab = stack.enter_context(page(browser, found[0]))
        phase(tab, "SERVING")
        expect(tab.locator('tr[data-rank="1"] .col-running')).to_have_text("31")
        expect(tab.get_by_role("button", name="Start wave")).to_have_count(0)
        expect(tab.get_by_role("button", name="Download recording")).to_have_count(0)
        expect(tab.locator("body")).not_to_contain_text("Waiting for")
        expect(tab.locator("body")).not_to_contain_text("front_publish")
        expect(tab.locator("body")).to_contain_text("watching")
        tab.locator('tr[data-rank="1"]').get_by_role("button").click()
        expect(tab.locator(".facts")).to_contain_text(
            f"Source of the numbersmetrics of vLLM's API server: vllm {other.url}"
        )
        tab.keyboard.press("Escape")
        assert_accessible(tab)
        other.routes["/metrics"] = never
        expect(tab.locator("body")).to_contain_text("API server does not answer")
        expect(tab.locator("body")).to_contain_text(f"{other.url}: no answer within 1 s")
        expect(tab.locator("body")).to_contain_text("at rank 1, not answering")
