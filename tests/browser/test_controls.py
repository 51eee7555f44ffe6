"""Keyboard, filter, sort, theme, log and the frozen view."""

from __future__ import annotations

import json

from playwright.sync_api import Browser, expect

from tests.browser.rig import assert_accessible, kept, page, phase, rank, stack, stat


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


def test_the_paused_view_shows_the_page_as_it_was_and_comes_back_whole(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab, page(browser, made.url) as other:
        phase(tab, "PAUSED")
        tab.keyboard.press("p")
        expect(tab.get_by_text("LOOKING BACK")).to_be_visible()
        made.run(0)
        phase(other, "RUNNING")
        expect(tab.get_by_test_id("looking-back")).to_contain_text("s ago")
        expect(tab.get_by_role("button", name="Start wave")).to_have_count(0)
        expect(tab.get_by_test_id("phase")).to_have_text("PAUSED")
        assert_accessible(tab)
        tab.keyboard.press("p")
        phase(tab, "RUNNING")
        expect(stat(tab, "Running")).to_have_text("3")
        expect(tab.locator("#log li[data-kind=wave_started]")).to_have_count(1)


def test_scrubbing_leads_the_whole_page_through_the_past(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        made.engines[0].report_stats(waiting=0, running=0)
        expect(rank(tab, 0).locator(".col-running")).to_have_text("0")
        made.run(0)
        phase(tab, "RUNNING")
        expect(rank(tab, 1).locator(".col-running")).to_have_text("2")
        held = made.rest("history?window_s=60")
        made.complete(0)
        phase(tab, "PAUSED")
        assert held["state"][-1] == "running"
        tab.goto(f"{made.url}/#at={held['at'][-1] + 0.01:.3f}")
        phase(tab, "RUNNING")
        expect(tab.get_by_test_id("looking-back")).to_contain_text("LOOKING BACK")
        expect(rank(tab, 1).locator(".col-running")).to_have_text("2")
        expect(tab.locator("#waves .row-open")).to_have_count(1)
        expect(tab.locator("#log li[data-kind=wave_completed]")).to_have_count(0)
        slider = tab.get_by_role("slider", name="Moment shown")
        slider.press("Home")
        expect(tab.get_by_test_id("unknown")).to_contain_text("known")
        tab.keyboard.press("Escape")
        phase(tab, "PAUSED")
        expect(tab.locator("#log li[data-kind=wave_completed]")).to_have_count(1)


def test_a_page_opened_later_shows_every_rank_as_it_was_before(browser: Browser) -> None:
    with stack() as made:
        made.run(0)
        busy = kept(made, "running")
        made.complete(0)
        with page(browser, made.url) as tab:
            phase(tab, "PAUSED")
            expect(rank(tab, 1).locator(".col-running")).to_have_text("0")
            tab.goto(f"{made.url}/#at={busy + 0.01:.3f}")
            phase(tab, "RUNNING")
            expect(rank(tab, 1).locator(".col-running")).to_have_text("2")
            expect(rank(tab, 1).locator(".col-status")).not_to_have_text("unknown")
            expect(stat(tab, "Running")).to_have_text("3")
            expect(tab.get_by_test_id("unknown")).to_have_count(0)
            expect(tab.locator("#waves .row-open")).to_have_count(1)
            expect(tab.locator("#log li[data-kind=wave_started]")).to_have_count(1)
            expect(tab.locator("#log li[data-kind=wave_completed]")).to_have_count(0)
            assert_accessible(tab)
            tab.keyboard.press("Escape")
            phase(tab, "PAUSED")
            expect(rank(tab, 1).locator(".col-running")).to_have_text("0")


def test_what_the_server_cannot_tell_of_the_past_is_said_and_not_made_up(browser: Browser) -> None:
    with stack() as made:
        made.run(0)
        busy = kept(made, "running")
        made.complete(0)
        with page(browser, made.url) as tab:
            phase(tab, "PAUSED")
            empty = {"at": [], "states": [], "until": busy + 0.02, "oldest_at": busy + 0.02}
            tab.route("**/history/states*", lambda route: route.fulfill(json=empty))
            tab.goto(f"{made.url}/#at={busy + 0.01:.3f}")
            unknown = tab.get_by_test_id("unknown")
            expect(unknown).to_contain_text("Nothing is kept of each rank and alarms before")
            phase(tab, "RUNNING")
            expect(stat(tab, "Running")).to_have_text("3")
            expect(rank(tab, 1).locator(".col-status")).to_have_text("unknown")
            expect(rank(tab, 1).locator(".col-running")).to_have_text("—")
            assert_accessible(tab)
            tab.unroute("**/history/states*")
            tab.route("**/history/states*", lambda route: route.abort())
            tab.goto(f"{made.url}/#at={busy + 0.03:.3f}")
            expect(unknown).to_contain_text("could not be loaded")
            expect(rank(tab, 1).locator(".col-running")).to_have_text("—")
            tab.unroute("**/history/states*")
            tab.goto(f"{made.url}/#at={busy + 0.04:.3f}")
            expect(rank(tab, 1).locator(".col-running")).to_have_text("2")
            expect(unknown).to_have_count(0)


def test_the_address_says_what_is_shown_and_nonsense_in_it_is_told(browser: Browser) -> None:
    with stack(3) as made, page(browser, f"{made.url}/#window=15&sort=-running&filter=0-1&rank=1") as tab:
        made.run(0)
        order = tab.locator("#engines tbody th")
        expect(order).to_have_text(["1", "0"])
        chosen = tab.get_by_role("group", name="Time shown").get_by_role("button", pressed=True)
        expect(chosen).to_have_text("15 min")
        tab.get_by_role("group", name="Time of the rank").get_by_role("button", name="1 min").click()
        tab.get_by_label("Filter engines").fill("")
        tab.wait_for_url("**/#window=1&sort=-running&rank=1")
        tab.goto(f"{made.url}/#window=banana&rank=-3&sort=load")
        told = tab.get_by_role("status").filter(has_text="not understood")
        expect(told).to_contain_text("window=banana")
        expect(told).to_contain_text("rank=-3")
        expect(chosen).to_have_text("5 min")
        assert_accessible(tab)
        told.get_by_role("button", name="Dismiss").click()
        expect(told).to_be_hidden()


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
        tab.mouse.down()
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
        tab.mouse.up()
        expect(tab.get_by_role("img", name="requests from")).to_be_visible()
        tab.get_by_role("button", name="Reset zoom").click()
        expect(chart).to_be_visible()


def test_the_chart_shows_how_the_ranks_lie_apart(browser: Browser) -> None:
    with stack(4) as made, page(browser, made.url) as tab:
        made.run(0)
        phase(tab, "RUNNING")
        choice = tab.get_by_role("group", name="Lines")
        legend = tab.locator("#load .legend")
        for name, told in [
            ("Sum", "running 10"),
            ("Per rank", "median 4"),
            ("Imbalance", "the mean 1.3"),
            ("KV max", "of a rank 25 %"),
        ]:
            choice.get_by_role("button", name=name).click()
            expect(legend).to_contain_text(told)
        tab.wait_for_url("**/#lines=kv")
        assert_accessible(tab)
