"""One rank looked at closely: its numbers, its past, and another beside it."""

from __future__ import annotations

import re
import threading

from playwright.sync_api import Browser, Page, expect

from tests.browser.fixture import fleet
from tests.browser.rig import PHONE, assert_accessible, page, phase, rank, stack

DRAWN = """() => {
  const canvas = document.querySelector('.rank-panes canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const own = getComputedStyle(document.querySelector('.swatch-running')).borderTopColor;
  const [r, g, b] = own.match(/\\d+/g).map(Number);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i] === r && data[i + 1] === g && data[i + 2] === b) count++;
  return count > 50;
}"""
"""Whether the panes have pixels in the colour of the rank's own line."""


def drawer(tab: Page, index: int) -> None:
    expect(tab.get_by_role("complementary", name=f"Rank {index}", exact=True)).to_be_visible()


def test_a_rank_opens_by_click_and_by_key_and_closes_where_it_was_opened(browser: Browser) -> None:
    with stack(3) as made, page(browser, made.url) as tab:
        made.run(0)
        phase(tab, "RUNNING")
        button = rank(tab, 1).get_by_role("button")
        button.click()
        drawer(tab, 1)
        facts = tab.locator(".facts")
        expect(facts).to_contain_text("Waiting2Running2")
        expect(facts).to_contain_text("KV cache25 %")
        expect(facts).to_contain_text("Wave, step0, 1")
        expect(facts).to_contain_text("Source of the numbersits own reports")
        # Which ranks share the entry with it depends on what came between.
        expect(tab.get_by_test_id("one-rank")).to_contain_text(re.compile(r"First report of ranks? \d"))
        tab.wait_for_function(DRAWN)
        assert_accessible(tab)
        tab.keyboard.press("Escape")
        expect(tab.get_by_test_id("one-rank")).to_have_count(0)
        expect(button).to_be_focused()
        tab.keyboard.press("/")
        tab.keyboard.type("2")
        tab.keyboard.press("Enter")
        drawer(tab, 2)
        expect(tab.get_by_test_id("one-rank")).to_be_focused()


def test_on_a_phone_all_of_a_rank_is_in_sight(browser: Browser) -> None:
    with stack(3) as made, page(browser, f"{made.url}/#rank=1", viewport=PHONE) as tab:
        made.run(0)
        phase(tab, "RUNNING")
        drawer(tab, 1)
        expect(tab.locator(".drawer header")).to_contain_text("working")
        expect(tab.locator(".drawer").get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
        cut = "facts => facts.filter(fact => fact.scrollWidth > fact.clientWidth).map(fact => fact.textContent)"
        assert tab.locator(".facts dd").evaluate_all(cut) == []


def test_two_ranks_are_compared_and_the_address_says_so(browser: Browser) -> None:
    with stack(3) as made, page(browser, f"{made.url}/#rank=1") as tab:
        made.run(0)
        phase(tab, "RUNNING")
        drawer(tab, 1)
        tab.get_by_label("Compare with rank").fill("2")
        tab.wait_for_url("**/#rank=1&beside=2")
        tab.reload()
        drawer(tab, 1)
        expect(tab.get_by_label("Compare with rank")).to_have_value("2")
        assert_accessible(tab)
        tab.set_viewport_size(PHONE)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert_accessible(tab)


def test_from_an_alarm_to_its_rank_in_two_keys_at_a_thousand_ranks(browser: Browser) -> None:
    with fleet(1024, lambda: {"imbalance"}) as (coordinator, ranks):
        stop = threading.Event()
        thread = threading.Thread(target=ranks.run, args=(stop,))
        thread.start()
        try:
            with page(browser, str(coordinator.http_url)) as tab:
                uneven = tab.locator("[data-alarm=load_imbalance]")
                expect(uneven).to_be_visible(timeout=60_000)
                tab.keyboard.press("a")
                tab.keyboard.press("Enter")
                drawer(tab, 3)
                expect(tab.get_by_test_id("one-rank")).to_contain_text(re.compile("Rank 3 has far more requests"))
                tab.wait_for_function(DRAWN)
        finally:
            stop.set()
            thread.join()
