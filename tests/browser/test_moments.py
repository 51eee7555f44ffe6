"""Moments: links to them, from one incident to the next, the zone, and what is copied of them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from playwright.sync_api import Browser, Page, expect

from tests.browser.rig import Stack, assert_accessible, kept, page, phase, rank, stack, stat
from tests.waiting import wait_until

TCP: dict[str, Any] = dict.fromkeys(("back_output_address", "back_publish_address"), "tcp://127.0.0.1:*")
CLIPBOARD: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}


def copied(tab: Page) -> str:
    return str(tab.evaluate("navigator.clipboard.readText()"))


def lose_rank_3(made: Stack, tab: Page) -> None:
    made.run(0)
    phase(tab, "RUNNING")
    made.engines[3].close()
    expect(tab.locator("[data-alarm=engine_gone]")).to_be_visible()


def test_a_copied_link_shows_another_browser_in_another_zone_the_same(browser: Browser) -> None:
    with stack(4) as made:
        made.run(0)
        busy = kept(made, "running")
        made.complete(0)
        there: dict[str, Any] = {"timezone_id": "Asia/Tokyo", **CLIPBOARD}
        with page(browser, f"{made.url}/#rank=2&log=waves&filter=1-3&at={busy + 0.01:.3f}", **there) as tab:
            phase(tab, "RUNNING")
            tab.get_by_role("button", name="Copy a link").click()
            expect(tab.get_by_role("button", name="Copied")).to_be_visible()
            link = copied(tab)
            local = datetime.fromtimestamp(busy, ZoneInfo("Asia/Tokyo"))
            expect(tab.get_by_test_id("looking-back")).to_contain_text(f"{local:%H:%M:%S} GMT+9")
        with page(browser, link, timezone_id="America/New_York") as other:
            phase(other, "RUNNING")
            local = datetime.fromtimestamp(busy, ZoneInfo("America/New_York"))
            expect(other.get_by_test_id("looking-back")).to_contain_text(f"{local:%H:%M:%S} ")
            expect(rank(other, 2).locator(".col-running")).to_have_text("3")
            expect(other.locator("#engines tbody th")).to_have_text(["1", "2", "3"])
            expect(other.get_by_role("complementary", name="Rank 2")).to_be_visible()
            expect(other.get_by_label("Show events of kind")).to_have_value("waves")


def test_looking_back_is_said_in_place_of_the_state_and_nothing_acts_on_now(browser: Browser) -> None:
    with stack(2) as made, page(browser, made.url) as tab:
        phase(tab, "PAUSED")
        box = tab.locator("#engines").bounding_box()
        tab.keyboard.press("p")
        expect(tab.get_by_test_id("looking-back")).to_contain_text("LOOKING BACK")
        expect(tab.get_by_role("button", name="Start wave")).to_have_count(0)
        expect(tab.get_by_role("button", name="Download recording")).to_have_count(0)
        assert tab.locator("#engines").bounding_box() == box, "nothing moves"
        assert_accessible(tab)
        tab.get_by_role("button", name="Back to live").click()
        expect(tab.get_by_role("button", name="Start wave")).to_be_visible()


def test_of_one_moment_the_header_and_the_legend_of_the_chart_say_the_same(browser: Browser) -> None:
    """The chart draws the most of a second, and the header tells one moment of it."""
    with stack(2) as made:
        began = time.time()
        while time.time() < began + 3:
            for running in (90, 0):
                for engine in made.engines:
                    engine.report_stats(waiting=running, running=running, step_counter=1, current_wave=0)
                wait_until(lambda: made.rest("engines")["engines"][1]["age_s"] >= 0.25, "its second goes on")
        for second in range(3):
            with page(browser, f"{made.url}#at={began + second + 0.6:.3f}") as tab:
                expect(tab.get_by_text("LOOKING BACK")).to_be_visible()
                expect(stat(tab, "Running")).to_have_text(re.compile(r"\d"))
                legend = tab.locator("#load .legend-item b").all_inner_texts()
                assert legend == [stat(tab, name).inner_text() for name in ("Running", "Waiting")]


def test_keys_lead_from_incident_to_incident_and_times_are_links(browser: Browser) -> None:
    with stack(4, **TCP) as made, page(browser, made.url) as tab:
        lose_rank_3(made, tab)
        raised = tab.locator("#log li[data-kind=alarm_raised]").first
        expect(raised).to_contain_text("Engine gone: rank 3")
        tab.keyboard.press("[")
        expect(tab.get_by_test_id("looking-back")).to_be_visible()

        tab.wait_for_url(re.compile(r"#at=\d+"))
        tab.keyboard.press("]")
        expect(tab.get_by_test_id("looking-back")).to_have_count(0)
        phase(tab, "RUNNING")
        first = tab.locator("#log li[data-kind=wave_started] a")
        at = first.get_attribute("href")
        first.click()
        expect(tab.get_by_test_id("looking-back")).to_be_visible()
        assert at is not None
        tab.wait_for_url(f"**/{at}")


def test_an_incident_is_copied_as_markdown(browser: Browser) -> None:
    with stack(4, **TCP) as made, page(browser, made.url, **CLIPBOARD) as tab:
        lose_rank_3(made, tab)
        tab.get_by_role("button", name="Copy this incident").click()
        expect(tab.get_by_role("button", name="Copied")).to_be_visible()
        told = copied(tab)
        assert re.match(r"## CRITICAL: Engine gone: rank 3, 127\.0\.0\.1:\d+", told)
        assert re.search(r"^- Since: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC, for ", told, re.M)
        assert re.search(r"^- Rank 3: gone, .*; 127\.0\.0\.1:\d+; connection closed$", told, re.M)
        assert "- What to do: Look why its process ended" in told
        assert re.search(rf"^- That moment: {made.url}/#at=\d+\.\d+$", told, re.M)
        assert "Wave 0 started" in told


def test_the_zone_is_chosen_named_and_kept(browser: Browser) -> None:
    with stack(2) as made, page(browser, made.url, timezone_id="Asia/Tokyo") as tab:
        entry = tab.locator("#log li[data-kind=coordinator_started] time")
        started = made.rest("events")["started_at"]
        expect(entry).to_contain_text(f"{datetime.fromtimestamp(started, ZoneInfo('Asia/Tokyo')):%H:%M:%S}")
        tab.get_by_role("button", name="Times in GMT+9").click()
        expect(entry).to_contain_text(f"{datetime.fromtimestamp(started, UTC):%H:%M:%S}")
        tab.reload()
        expect(tab.get_by_role("button", name="Times in UTC")).to_be_visible()
        tab.keyboard.press("z")
        expect(tab.get_by_role("button", name="Times in GMT+9")).to_be_visible()


def test_what_is_shown_is_saved_as_comma_separated_values(browser: Browser, tmp_path: Path) -> None:
    with stack(2) as made, page(browser, f"{made.url}/#rank=1") as tab:
        made.run(0)
        phase(tab, "RUNNING")
        expect(rank(tab, 1).locator(".col-running")).to_have_text("2")
        with tab.expect_download() as file:
            tab.locator(".drawer-tools").get_by_role("button", name="CSV").click()
        file.value.save_as(tmp_path / "rank.csv")
        head, *rows = (tmp_path / "rank.csv").read_text().splitlines()
        assert head.startswith("time_utc,unix_s,Requests: mean,Requests: waiting,Requests: rank 1,")
        assert rows[-1].split(",")[3:5] == ["2", "4"]
        tab.keyboard.press("Escape")
        with tab.expect_download() as file:
            tab.locator("#load").get_by_role("button", name="CSV").click()
        file.value.save_as(tmp_path / "window.csv")
        head, *rows = (tmp_path / "window.csv").read_text().splitlines()
        last = dict(zip(head.split(","), rows[-1].split(","), strict=True))
        assert (last["state"], last["waiting"], last["running"], last["rank_max"]) == ("running", "4", "3", "4")


def test_the_log_is_short_leaves_out_routine_and_is_named_in_the_address(browser: Browser) -> None:
    with stack(6) as made, page(browser, made.url) as tab:
        for engine in made.engines:
            engine.report_stats(waiting=0, running=0)
        reports = tab.locator("#log li[data-kind=engine_first_report]")
        expect(reports).to_have_text(re.compile(r"First report of ranks 0-5$"))
        made.run(0)
        entries = tab.locator("#log li")
        expect(entries.filter(has_text="Wave 0 started")).to_have_count(1)
        expect(tab.locator("#log li[data-kind=wave_asked]")).to_have_count(0)
        assert_accessible(tab)
        tab.get_by_label("Show events of kind").select_option("all")
        expect(tab.locator("#log li[data-kind=wave_asked]")).to_have_count(1)
        tab.wait_for_url("**/#log=all")
