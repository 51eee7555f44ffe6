"""Keyboard, filter, sort, theme, log and the frozen view."""

from __future__ import annotations

import json

from playwright.sync_api import Browser, expect

from tests.browser.rig import assert_accessible, page, phase, rank, stack, stat


def test_the_keyboard_reaches_everything(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        phase(tab, "PAUSED")
        tab.keyboard.press("?")
        dialog = tab.get_by_role("dialog")
        expect(dialog).to_contain_text("filter engines")
        assert_accessible(tab)
        tab.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        tab.keyboard.press("/")
        field = tab.get_by_label("Filter engines")
        expect(field).to_be_focused()
        tab.keyboard.type("s1")  # letters that are keys elsewhere are only letters here
        expect(field).to_have_value("s1")
        expect(dialog).to_be_hidden()
        tab.keyboard.press("Escape")
        expect(field).to_have_value("")
        tab.keyboard.press("s")
        expect(tab.get_by_label("Reason")).to_be_focused()
        tab.keyboard.press("Escape")
        made.run(0)
        phase(tab, "RUNNING")
        tab.keyboard.press("s")
        expect(dialog).to_be_hidden()
        expect(tab.get_by_role("button", name="Start wave")).to_be_focused()


def test_the_theme_follows_the_system_until_one_is_chosen(browser: Browser) -> None:
    with stack() as made, page(browser, made.url, color_scheme="dark") as tab:
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        dark = tab.evaluate(ground)
        button = tab.get_by_role("button", name="Theme:")
        expect(button).to_have_accessible_name("Theme: system")
        tab.keyboard.press("t")
        expect(button).to_have_accessible_name("Theme: light")
        assert tab.evaluate(ground) != dark
        tab.reload()
        expect(button).to_have_accessible_name("Theme: light")
        assert tab.evaluate(ground) != dark
        button.click()
        expect(button).to_have_accessible_name("Theme: dark")
        assert tab.evaluate(ground) == dark


def test_a_frozen_view_says_so_and_comes_back_whole(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab, page(browser, made.url) as other:
        phase(tab, "PAUSED")
        tab.keyboard.press("p")
        expect(tab.get_by_text("PAUSED VIEW")).to_be_visible()
        made.run(0)
        phase(other, "RUNNING")
        expect(tab.get_by_role("status").filter(has_text="PAUSED VIEW")).to_contain_text("s ago")
        expect(tab.get_by_test_id("phase")).to_have_text("PAUSED")
        tab.keyboard.press("p")
        phase(tab, "RUNNING")
        expect(stat(tab, "Running")).to_have_text("3")
        expect(tab.locator("#log li[data-kind=wave_started]")).to_have_count(1)


def test_engines_are_sorted_and_filtered(browser: Browser) -> None:
    with stack(3) as made, page(browser, made.url) as tab:
        made.run(0)
        expect(rank(tab, 2).locator(".col-running")).to_have_text("3")
        order = tab.locator("#engines tbody th")
        expect(order).to_have_text(["0", "1", "2"])
        tab.get_by_role("button", name="Running", exact=True).click()
        expect(order).to_have_text(["2", "1", "0"])
        expect(tab.locator("th.col-running")).to_have_attribute("aria-sort", "descending")
        tab.get_by_label("Filter engines").fill("0-1")
        expect(order).to_have_text(["1", "0"])
        tab.get_by_label("Filter engines").fill("nothing like it")
        expect(tab.get_by_text("No rank matches")).to_be_visible()
        tab.get_by_role("button", name="Clear").click()
        expect(order).to_have_count(3)


def test_the_log_is_filtered_and_copied(browser: Browser) -> None:
    with stack() as made, page(browser, made.url, permissions=["clipboard-read", "clipboard-write"]) as tab:
        made.run(0)
        entries = tab.locator("#log li")
        expect(entries.filter(has_text="Wave 0 started")).to_have_count(1)
        tab.get_by_label("Show events of kind").select_option("wave_started")
        expect(entries).to_have_count(1)
        tab.get_by_role("button", name="Copy the shown events as JSON").click()
        expect(tab.get_by_role("button", name="Copied")).to_be_visible()
        copied = json.loads(tab.evaluate("navigator.clipboard.readText()"))
        assert [(entry["kind"], entry["wave"], entry["engine"]) for entry in copied] == [("wave_started", 0, 0)]


def test_the_chart_covers_the_chosen_time(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        made.run(0)
        phase(tab, "RUNNING")
        chosen = tab.get_by_role("group", name="Time shown").get_by_role("button", pressed=True)
        expect(chosen).to_have_text("5 min")
        tab.get_by_role("button", name="60 min").click()
        expect(chosen).to_have_text("60 min")
        chart = tab.get_by_role("img", name="over the last 60 minutes")
        expect(chart.locator("canvas")).to_be_visible()
        box = chart.bounding_box()
        assert box is not None
        tab.mouse.move(box["x"] + box["width"] - 30, box["y"] + 100)
        expect(tab.locator(".legend-time")).to_contain_text("at ")
