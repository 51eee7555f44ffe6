"""The rank x time map: which rank, when, and there."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.browser.fixture import fleet
from tests.browser.rig import assert_accessible, kept, page, phase, rank, stack
from tests.waiting import wait_until

LEFT, RIGHT, TOP = 56, 20, 16
WARM = """() => {
  const canvas = document.querySelector('.map canvas');
  const ctx = canvas.getContext('2d');
  const { data } = ctx.getImageData(canvas.width - 23, 16, 1, canvas.height - 16);
  const warm = (i) => data[4 * i] > data[4 * i + 2] + 60;
  const rows = [...Array(data.length / 4).keys()].filter(warm);
  return rows.length > 0 && rows;
}"""
"""The rows, in pixels from the top, that are rather vermillion than blue at the right end of the map."""


def at_right_end(tab: Page, row: float) -> tuple[float, float]:
    """A point of the newest column; `row` is the part of the height."""
    box = tab.locator(".map canvas").bounding_box()
    assert box is not None
    return box["x"] + box["width"] - RIGHT - 3, box["y"] + TOP + row * (box["height"] - TOP)


def test_pointing_at_the_map_tells_rank_and_numbers_and_a_click_goes_there(browser: Browser) -> None:
    with stack(4) as made, page(browser, made.url) as tab:
        made.run(0)
        phase(tab, "RUNNING")
        expect(rank(tab, 2).locator(".col-running")).to_have_text("3")
        words = tab.locator(".map-words")
        at = at_right_end(tab, 0.6)
        expect(words).to_contain_text("Every rank by requests")
        tab.mouse.move(at[0] - 1, at[1])
        expect(words).to_have_text(
            re.compile(
                r"^Rank 2 at \d\d:\d\d:\d\d: (working|quiet), 2 waiting, 3 running, 1\.1\u00d7 the mean, KV 25 %$"
            )
        )
        tab.mouse.click(*at)
        expect(tab.get_by_test_id("looking-back")).to_be_visible()
        expect(tab.get_by_test_id("rank-detail")).to_contain_text("Rank 2")
        expect(rank(tab, 2).locator(".col-running")).to_have_text("3")
        tab.wait_for_url(re.compile(r"#rank=2&at=\d+"))
        assert_accessible(tab)


def test_of_ranks_that_share_a_row_the_worst_is_seen(browser: Browser) -> None:
    with fleet(1024) as (coordinator, ranks), page(browser, f"{coordinator.http_url}/#colour=waiting") as tab:
        for index in range(1024):
            ranks.report(index, 90 if index == 700 else 0, 4)
        expect(tab.locator("#engines")).not_to_contain_text("never reported")
        warm = tab.wait_for_function(WARM).json_value()
        high = tab.locator(".map canvas").bounding_box()["height"] - TOP  # type: ignore[index]
        assert {round(1024 * row / high) // 16 for row in warm} <= {42, 43, 44}
        tab.mouse.move(*at_right_end(tab, 700.5 / 1024))
        expect(tab.locator(".map-words")).to_contain_text(re.compile(r"worst rank 700 at .* 90 waiting"))


def test_what_colours_mean_is_chosen_once_for_grid_and_map_and_kept_in_the_address(browser: Browser) -> None:
    with stack(9) as made, page(browser, made.url) as tab:
        made.run(0)
        choice = tab.get_by_role("group", name="Colour by")
        expect(choice.get_by_role("button", pressed=True)).to_have_text("Requests")
        choice.get_by_role("button", name="KV cache").click()
        tab.wait_for_url("**/#colour=kv")
        expect(tab.locator(".map-words")).to_contain_text("by kv cache")
        tab.reload()
        expect(choice.get_by_role("button", pressed=True)).to_have_text("KV cache")
        for name in ("Waiting", "\u00d7 mean", "State"):
            choice.get_by_role("button", name=name).click()
            assert_accessible(tab)


def test_the_map_is_filled_with_what_the_server_kept(browser: Browser) -> None:
    with stack(2) as made:
        made.run(0)
        begin = kept(made, "running")
        wait_until(lambda: made.rest("history?window_s=60")["at"][-1] > begin + 3, "three seconds before the page")
        with page(browser, f"{made.url}/#zoom={begin - 1:.1f}-{begin + 3:.1f}") as tab:
            box = tab.locator(".map canvas").bounding_box()
            assert box is not None
            tab.mouse.move(box["x"] + LEFT + (box["width"] - LEFT - RIGHT) * 0.65, box["y"] + box["height"] - 10)
            expect(tab.locator(".map-words")).to_contain_text(re.compile("Rank 1 at .* running"))
