"""Alarms, the grid and the paused view, light and dark, wide and on a phone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.fixture import fleet
from tests.browser.rig import PHONE, WIDE, assert_accessible, page, phase

ON_TOP = """(selector) => {
  const { x, y, width, height } = document.querySelector(selector).getBoundingClientRect();
  return document.elementFromPoint(x + width / 2, y + height / 2)?.textContent;
}"""


@contextmanager
def faulty_fleet() -> Iterator[str]:
    """80 ranks that run, one of which is gone, while somebody sends nonsense."""
    with fleet(80, lambda: {"engine-gone", "bad-frames"}) as (coordinator, ranks):
        stop = threading.Event()
        thread = threading.Thread(target=ranks.run, args=(stop,))
        thread.start()
        try:
            yield str(coordinator.http_url)
        finally:
            stop.set()
            thread.join()


def _fits(tab: Page) -> None:
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(tab)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_alarms_grid_and_paused_view(browser: Browser, scheme: str) -> None:
    with faulty_fleet() as url:
        for viewport in (WIDE, PHONE):
            with page(browser, f"{url}/#rank=3", viewport=viewport, color_scheme=scheme) as tab:
                alarms = tab.get_by_role("region", name="Alarms").get_by_role("listitem")
                expect(tab.get_by_role("article").filter(has_text="critical Engine gone")).to_contain_text("What to do")
                expect(alarms.filter(has_text="undecodable frames on back_output")).to_contain_text("for ")
                expect(tab.get_by_role("img", name="Every rank")).to_be_visible()
                phase(tab, "RUNNING")
                expect(tab.get_by_test_id("rank-detail")).to_contain_text("Rank 3")
                _fits(tab)
                tab.keyboard.press("p")
                expect(tab.get_by_text("LOOKING BACK")).to_be_visible()
                expect(alarms.first).to_be_visible()
                _fits(tab)


def test_the_head_of_a_long_table_stays_in_sight(browser: Browser) -> None:
    with fleet(48) as (coordinator, _), page(browser, str(coordinator.http_url)) as tab:
        head = tab.get_by_role("columnheader", name="Last report")
        expect(head).to_be_visible()
        tab.locator(".table-scrolls").evaluate("e => { e.scrollTop = e.scrollHeight }")
        expect(tab.locator("tr[data-rank='47']")).to_be_in_viewport()
        expect(head).to_be_in_viewport()
        assert "Last report" in tab.evaluate(ON_TOP, ".engines thead .col-age button")


@pytest.mark.parametrize("width", [760, 1024, 1280, 1440])
@pytest.mark.parametrize("rank_count", [8, 80])
def test_no_column_is_out_of_sight(browser: Browser, rank_count: int, width: int) -> None:
    with (
        fleet(rank_count) as (coordinator, ranks),
        page(browser, str(coordinator.http_url), viewport={"width": width, "height": 800}) as tab,
    ):
        ranks.report(0, 1234, 1234)
        expect(tab.locator("tr[data-rank='0'] .col-running")).to_have_text("1234")
        overhang = "tables => tables.map(table => table.scrollWidth - table.clientWidth)"
        assert set(tab.locator(".table-scroll").evaluate_all(overhang)) == {0}


def test_paper_has_every_rank(browser: Browser) -> None:
    with fleet(80) as (coordinator, _), page(browser, str(coordinator.http_url)) as tab:
        ranks = tab.locator("tr[data-rank]")
        expect(tab.locator("tr[data-rank='0']")).to_be_attached()
        assert ranks.count() < 80, "on the screen only those in sight exist"
        tab.emulate_media(media="print")
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        expect(ranks).to_have_count(80)
        expect(tab.locator(".table-scrolls")).to_have_css("max-height", "none")
        tab.emulate_media(media="screen")
        tab.evaluate("dispatchEvent(new Event('afterprint'))")
        expect(tab.locator("tr[data-rank='79']")).not_to_be_attached()


def test_the_grid_is_drawn_in_the_colours_of_the_load(browser: Browser) -> None:
    """A rank with nothing to do is pale, the busiest is not, one that waits shows so, never is hollow."""
    pixel = "([x, y]) => [...document.querySelector('.heat canvas').getContext('2d').getImageData(x, y, 1, 1).data]"
    with fleet(80) as (coordinator, ranks), page(browser, str(coordinator.http_url)) as tab:
        ranks.report(0, 0, 0)
        ranks.report(1, 0, 50)
        ranks.report(2, 40, 10)
        expect(tab.locator("tr[data-rank='2'] .col-waiting")).to_have_text("40")
        # Cells begin beside the row's number, and have their rank at the top and their requests at the right.
        room = tab.locator(".heat canvas").bounding_box()
        assert room is not None
        columns = 16
        wide = (room["width"] - 34 + 2) // columns
        pale, full, waiting, never = (tab.evaluate(pixel, [34 + wide * rank + 8, 30]) for rank in range(4))
        assert sum(pale[:3]) > sum(full[:3]) + 200
        assert full[2] > full[0], "blue"
        assert waiting[0] > waiting[2], "vermillion"
        assert never == [0, 0, 0, 0]
