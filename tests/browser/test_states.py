"""What the page shows in each state of the coordinator, as a person sees it."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from tests.browser.rig import PHONE, assert_accessible, eventually, page, phase, rank, stack, stat


def test_an_empty_coordinator_teaches_how_to_connect(browser: Browser) -> None:
    with stack(4, connected=False) as made, page(browser, made.url) as tab:
        expect(tab.get_by_role("heading", name="Waiting for engines: 0 of 4 subscribed")).to_be_visible()
        made.connect(2)
        expect(tab.get_by_role("heading", name="Waiting for engines: 2 of 4 subscribed")).to_be_visible()
        teaching = tab.get_by_label("Waiting for peers")
        back_publish, back_output = made.coordinator.get_engine_socket_addresses()
        for address in (back_publish, back_output, made.coordinator.get_stats_publish_address()):
            expect(teaching).to_contain_text(address)
        start = tab.get_by_role("button", name="Start wave")
        expect(start).to_be_disabled()
        expect(tab.locator("#start-why")).to_contain_text("2 of 4 engines have subscribed")
        expect(tab.get_by_text("No wave yet.")).to_be_visible()
        assert_accessible(tab)
        made.connect()
        expect(teaching).to_be_hidden()
        expect(start).to_be_enabled()


def test_never_reported_is_never_and_not_zero(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        expect(stat(tab, "Waiting")).to_have_text("—")
        expect(rank(tab, 1)).to_contain_text("never")
        expect(rank(tab, 1)).not_to_contain_text("working")
        made.engines[0].report_stats(waiting=0, running=0)
        expect(rank(tab, 0).locator(".col-waiting")).to_have_text("0")
        expect(rank(tab, 0).locator(".col-status")).to_have_text("idle")
        expect(rank(tab, 1).locator(".col-waiting")).to_have_text("—")
        expect(rank(tab, 1).locator(".col-age")).to_have_text("—")
        expect(stat(tab, "Waiting")).to_have_text("0")
        expect(tab.locator("#engines")).to_contain_text("1 never reported")


def test_a_wave_is_shown_as_it_happens(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        phase(tab, "PAUSED")
        made.run(0)
        phase(tab, "RUNNING")
        expect(stat(tab, "Waiting")).to_have_text("4")
        expect(stat(tab, "Running")).to_have_text("3")
        expect(stat(tab, "Engines")).to_have_text("2of 2")
        expect(stat(tab, "Front-ends")).to_have_text("1")
        expect(rank(tab, 1).locator(".col-running")).to_have_text("2")
        expect(rank(tab, 1).locator(".col-load")).to_contain_text("1.1×")  # noqa: RUF001
        expect(stat(tab, "KV cache, max")).to_have_text("25 %rank 0")
        expect(stat(tab, "Busiest rank")).to_have_text("1.1×the mean, rank 1")  # noqa: RUF001
        expect(tab.get_by_test_id("announcer")).to_have_text("running, wave 0")
        expect(tab.locator("#start-why")).to_contain_text("wave 0 is running already")
        open_wave = tab.locator("#waves .row-open")
        expect(open_wave).to_contain_text("engine · rank 0")
        expect(open_wave.locator("td.minor")).to_have_text(["4", "3"])
        expect(tab.locator(".age-live")).to_contain_text("live, ")
        made.complete(0)
        phase(tab, "PAUSED")
        expect(stat(tab, "Wave")).to_have_text("1")
        expect(open_wave).to_have_count(0)
        expect(tab.locator("#waves")).to_contain_text(re.compile(r"median .*, p95 .* of 1 in the last hour"))
        log = tab.locator("#log li")
        expect(log.filter(has_text="Wave 0 started, by engine (rank 0)")).to_have_count(1)
        expect(log.filter(has_text="Wave 0 completed after")).to_have_count(1)
        expect(log.last).to_contain_text("Coordinator started")


def test_a_rank_with_nothing_new_is_quiet_and_nothing_is_amber(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        made.run(0)
        phase(tab, "RUNNING")
        silent = rank(tab, 1).locator(".col-status")
        expect(silent).to_have_text("working")
        step = iter(range(2, 1000))

        def go_on() -> None:
            made.engines[0].report_stats(waiting=2, running=1, step_counter=next(step), current_wave=0)

        eventually(lambda: expect(silent).to_have_text("quiet", timeout=200), go_on)
        expect(rank(tab, 0).locator(".col-status")).to_have_text("working")
        expect(silent.locator("svg.icon-quiet")).to_be_visible()
        expect(tab.locator("#engines")).to_contain_text("1 quiet")
        expect(tab.locator(".row-suspect, .tone-warn, .tone-bad")).to_have_count(0)
        made.engines[1].report_stats(waiting=2, running=1, step_counter=500, current_wave=0)
        expect(silent).to_have_text("working")


def test_an_engine_that_is_killed_under_load_is_named_and_not_counted(browser: Browser) -> None:
    tcp: dict[str, Any] = dict.fromkeys(("back_output_address", "back_publish_address"), "tcp://127.0.0.1:*")
    with stack(4, **tcp) as made, page(browser, made.url) as tab:
        made.run(0)
        for engine in made.engines:
            engine.report_stats(waiting=0, running=16, step_counter=2, current_wave=0)
        expect(stat(tab, "Running")).to_have_text("64")
        made.engines[3].close()
        expect(rank(tab, 3).locator(".col-status")).to_have_text("gone")
        expect(tab.locator(".stats")).to_contain_text("16 at rank 3, gone")
        expect(stat(tab, "Running").locator(".stat-value")).to_have_text("48")
        expect(tab.locator("[data-alarm=engine_gone]")).to_contain_text("Engine gone: rank 3, 127.0.0.1:")
        expect(stat(tab, "Engines")).to_contain_text("of 4: 3 gone")
        expect(tab.locator("[data-tone=bad]")).to_contain_text("1 alarm")
        expect(tab.locator(".row-suspect")).to_have_count(0)
        tab.set_viewport_size({"width": 700, "height": 900})
        alarm = tab.locator("[data-alarm=engine_gone]")
        cut = "text => text.scrollHeight > text.clientHeight"
        assert alarm.locator(".alarm-text").evaluate(cut)
        below = tab.locator("#engines").bounding_box()
        alarm.locator(".alarm-text").click()
        assert not alarm.locator(".alarm-text").evaluate(cut), "clicked, it is there in full"
        assert tab.locator("#engines").bounding_box() == below, "and nothing moves"
        assert_accessible(tab)
        alarm.get_by_role("button", name="Fold").click()
        expect(alarm).not_to_contain_text("What to do")


def test_where_a_rank_is_and_how_it_ended_is_shown(browser: Browser) -> None:
    tcp: dict[str, Any] = dict.fromkeys(("back_output_address", "back_publish_address"), "tcp://127.0.0.1:*")
    with stack(4, **tcp) as made, page(browser, made.url, viewport={"width": 1680, "height": 1050}) as tab:
        place = rank(tab, 3).locator(".col-place")
        expect(place).to_have_text("—")
        made.run(0)
        expect(place).to_have_text(re.compile(r"^127\.0\.0\.1:\d+$"))
        [name] = {row["peer"]["name"] for row in made.rest("engines")["engines"] if row["index"] == 3}
        expect(place).to_have_text(name)
        width = place.evaluate("cell => cell.offsetWidth")
        made.engines[3].close()
        expect(place).to_have_text(re.compile(rf"^{name}connection closed, \d\d:\d\d:\d\d$"))
        assert place.evaluate("cell => cell.offsetWidth") == width
        told = re.compile(rf"^{name}: connection closed, \d\d:\d\d:\d\d$")
        button = rank(tab, 3).get_by_role("button")
        expect(button).to_have_attribute("title", told)
        button.click()
        expect(tab.get_by_test_id("rank-detail")).to_contain_text(f"{name}: connection closed, ")
        expect(rank(tab, 2).locator(".col-place")).not_to_contain_text("closed")
        tab.keyboard.press("?")
        front_end = tab.get_by_test_id("peers").locator("li")
        expect(front_end).to_have_text(re.compile(rf"^front-endpid {os.getpid()} .*front_publish, since \d\d:"))
        assert_accessible(tab)
        tab.keyboard.press("Escape")
        tab.set_viewport_size(PHONE)
        expect(place).to_be_hidden()


def test_a_start_that_nobody_follows_is_said_so(browser: Browser) -> None:
    with stack(manual_start_timeout=30.0) as made, page(browser, made.url) as tab:
        expect(tab.get_by_role("button", name="Start wave")).to_be_enabled()
        tab.keyboard.press("s")
        reason = tab.get_by_role("dialog").get_by_role("textbox")
        expect(reason).to_be_focused()
        reason.fill("nobody listens")
        tab.keyboard.press("Enter")
        expect(tab.get_by_test_id("outcome")).to_contain_text("no rank has joined yet")
        tab.keyboard.press("Escape")
        phase(tab, "STARTING")
        expect(tab.get_by_test_id("starting")).to_contain_text("no rank has joined yet")
        made.engines[0].report_stats(waiting=0, running=1, step_counter=0, current_wave=0)
        phase(tab, "RUNNING")
        expect(tab.get_by_test_id("unconfirmed")).to_have_text("step not confirmed")
        expect(tab.locator("[data-tone=good]")).to_have_count(0)
        made.engines[0].report_stats(waiting=0, running=1, step_counter=1, current_wave=0)
        expect(tab.locator("[data-tone=good]")).to_have_count(1)
        expect(tab.get_by_test_id("starting")).to_be_hidden()


def test_work_whose_start_was_lost_is_said_and_freed_by_hand(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        phase(tab, "PAUSED")
        made.engines[1].report_stats(waiting=0, running=1, current_wave=1)
        held_up = tab.locator("[data-alarm=work_held_up]")
        expect(held_up).to_contain_text("warning Paused, but rank 1 reported work and went silent")
        expect(held_up).not_to_contain_text("What to do")
        assert_accessible(tab)
        held_up.get_by_role("button").click()
        expect(held_up).to_contain_text("What to do: If nobody paused them, start a wave by hand")
        expect(held_up).to_contain_text("since ")
        assert_accessible(tab)
        expect(held_up.get_by_role("button", name="rank 1")).to_be_focused()
        tab.keyboard.press("Enter")
        expect(tab.get_by_test_id("rank-detail")).to_contain_text("1 running")
        asked = {"reason": "rank 1 waits", "wave": 1}
        assert tab.request.post(f"{made.url}/api/v1/waves", data=asked).status == 202
        assert made.engines[1].receive_start(timeout=10).wave == 1
        expect(held_up).to_be_hidden()
        expect(tab.locator("#log li[data-kind=alarm_cleared]")).to_have_count(1)


def test_without_wave_coordination_there_is_nothing_to_start(browser: Browser) -> None:
    with stack(wave_coordination=False) as made, page(browser, made.url) as tab:
        expect(tab.locator("#waves")).to_contain_text("Wave coordination is off: there are no waves")
        expect(tab.get_by_test_id("strip")).to_contain_text("there are no waves: every engine steps by itself")
        expect(tab.get_by_role("button", name="Start wave")).to_be_disabled()
        expect(tab.locator("#start-why")).to_contain_text("wave coordination is off")


def test_a_page_opened_later_shows_what_was_before(browser: Browser) -> None:
    with stack() as made:
        with page(browser, made.url) as first:
            made.run(0)
            phase(first, "RUNNING")
            made.complete(0)
            phase(first, "PAUSED")
        with page(browser, made.url) as tab:
            expect(tab.locator("#waves tbody tr")).to_have_count(1)
            expect(tab.locator("#log li").filter(has_text="Wave 0 completed")).to_have_count(1)


def test_every_theme_and_width_is_accessible_and_fits(browser: Browser) -> None:
    with stack() as made:
        made.run(0)
        for scheme in ("light", "dark"):
            with page(browser, made.url, viewport=PHONE, color_scheme=scheme) as tab:
                phase(tab, "RUNNING")
                expect(rank(tab, 1).locator(".col-running")).to_have_text("2")
                assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
                assert_accessible(tab)
                tab.set_viewport_size({"width": 1440, "height": 900})
                assert_accessible(tab)


def test_a_thousand_engines(browser: Browser) -> None:
    with stack(1024, connected=False) as made, page(browser, made.url) as tab:
        expect(tab.locator("#engines")).to_contain_text("1024 ranks1024 never reported")
        assert tab.locator("tr[data-rank]").count() < 100, "rows out of sight are not in the page"
        table = tab.get_by_label("Engines, scrollable")
        table.scroll_into_view_if_needed()
        table.evaluate("e => { e.scrollTop = e.scrollHeight }")
        expect(rank(tab, 1023)).to_be_in_viewport()
        grid = tab.get_by_role("img", name="Every rank")
        expect(grid).to_be_in_viewport(ratio=1)
        grid.hover(position={"x": 40, "y": 5})
        expect(tab.get_by_test_id("rank-detail")).to_contain_text("Rank 0")
        grid.click(position={"x": 50, "y": 5})
        tab.mouse.move(0, 0)
        expect(tab.get_by_test_id("rank-detail")).to_contain_text("Rank 1")
        expect(rank(tab, 1).get_by_role("button", pressed=True)).to_be_visible()
        assert_accessible(tab)
        tab.keyboard.press("/")
        tab.keyboard.type("500-501")
        expect(tab.locator("tr[data-rank]")).to_have_count(2)
        expect(rank(tab, 501)).to_be_visible()


def test_beside_a_grid_the_table_follows_too(browser: Browser) -> None:
    with stack(70) as made, page(browser, made.url) as tab:
        made.run(0)
        tab.get_by_label("Engines, scrollable").scroll_into_view_if_needed()
        running = rank(tab, 3).locator(".col-running")
        expect(running).to_have_text("4")
        made.engines[3].report_stats(waiting=0, running=90, step_counter=2, current_wave=0)
        expect(running).to_have_text("90")
        tab.get_by_role("button", name="Running").click()
        expect(tab.locator("tr[data-rank]").first).to_have_attribute("data-rank", "3")
        made.coordinator.proc.kill()
        expect(rank(tab, 3).locator(".col-status")).to_have_text("unknown")


def test_arrows_lead_through_the_table_which_is_one_stop_of_the_tab_key(browser: Browser) -> None:
    with stack(64, connected=False) as made, page(browser, made.url) as tab:
        rows = tab.locator("tr[data-rank]")
        expect(rank(tab, 0)).to_be_in_viewport()
        assert rows.count() < 32, "rows out of sight are not in the page"
        expect(tab.locator("#engines .rank-button[tabindex='0']")).to_have_count(1)
        button = rank(tab, 0).get_by_role("button")
        button.focus()
        tab.keyboard.press("ArrowDown")
        expect(rank(tab, 1).get_by_role("button")).to_be_focused()
        tab.keyboard.press("End")
        expect(rank(tab, 63).get_by_role("button")).to_be_focused()
        expect(rank(tab, 63)).to_be_in_viewport()
        assert rows.count() < 40
        tab.keyboard.press("Enter")
        expect(tab.get_by_test_id("rank-detail")).to_contain_text("Rank 63")
        assert_accessible(tab)


@pytest.mark.parametrize(("engine_count", "width"), [(3, 1440), (3, 1000), (12, 1440)])
def test_a_column_that_says_the_same_of_every_rank_comes_when_ranks_differ_and_moves_no_other(
    browser: Browser, engine_count: int, width: int
) -> None:
    viewport: ViewportSize = {"width": width, "height": 900}
    with stack(engine_count) as made, page(browser, made.url, viewport=viewport) as tab:
        made.run(0)
        expect(rank(tab, 2).locator(".col-running")).to_have_text("3")
        expect(tab.locator(".col-restarts, .col-wave, .col-kvCacheUsage")).to_have_count(0)
        before = places_of_columns(tab)
        made.engines[1].report_stats(waiting=2, running=2, kv_cache_usage=0.5, step_counter=2, current_wave=0)
        expect(rank(tab, 1).locator(".col-kvCacheUsage")).to_contain_text("50 %")
        expect(tab.locator(".col-wave")).to_have_count(0)
        made.engines[1].report_stats(waiting=2, running=2, kv_cache_usage=0.5, step_counter=3, current_wave=1)
        expect(rank(tab, 1).locator(".col-wave")).to_have_text("1")
        after = places_of_columns(tab)
        assert {label: after[label] for label in before} == before


def places_of_columns(tab: Page) -> dict[str, float]:
    """Where each column of the ranks begins, by its label, in CSS pixels."""
    labels = tab.locator(".engines thead th")
    return {label.inner_text().strip(" ▴▾"): sides(label)[0] for label in labels.all()}


def test_the_mark_of_the_order_is_in_sight_on_a_phone(browser: Browser) -> None:
    with stack(3) as made, page(browser, made.url, viewport=PHONE) as tab:
        made.run(0)
        begins, ends = sides(tab.get_by_label("Engines, scrollable"))
        for heading in tab.locator(".engines thead button").all():
            heading.click()
            mark = heading.locator(".sort-mark")
            expect(mark).to_have_text(re.compile("[▴▾]"))
            left, right = sides(mark)
            assert begins <= left < right <= ends, heading.inner_text()


def sides(element: Locator) -> tuple[float, float]:
    """Where an element begins and ends, in CSS pixels."""
    left, right = element.evaluate("e => [e.getBoundingClientRect().left, e.getBoundingClientRect().right]")
    return left, right


@pytest.mark.parametrize("engine_count", [8, 64, 256, 1024])
def test_every_rank_is_in_sight_and_the_first_stops_lead_past_them(browser: Browser, engine_count: int) -> None:
    with stack(engine_count, connected=False) as made, page(browser, made.url) as tab:
        expect(tab.locator("#engines")).to_contain_text("ranks")
        picture = tab.locator(".heat canvas") if engine_count > 8 else rank(tab, 7)
        expect(picture).to_be_in_viewport(ratio=1)
        tab.keyboard.press("Tab")
        tab.keyboard.press("Shift+Tab")
        tab.keyboard.press("Tab")
        expect(tab.get_by_role("link", name="State", exact=True)).to_be_focused()
        for _ in range(4):
            tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        expect(tab.locator("#log")).to_be_focused()


def test_an_engine_that_goes_away_is_missed(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        expect(stat(tab, "Engines")).to_have_text("2of 2")
        made.engines.pop().close()
        expect(stat(tab, "Engines")).to_have_text("1of 2")
        expect(tab.locator("[data-alarm=engine_gone]")).to_contain_text("Engine gone: 1 of 2 are subscribed")
        assert_accessible(tab)
        expect(tab.locator("#log")).to_contain_text(
            re.compile(rf"An engine's subscription ended \(pid {os.getpid()} .*: connection closed\): 1 of 2 now")
        )
        made.front_ends.pop().close()
        expect(tab.get_by_role("heading", name="No front-end is subscribed")).to_be_visible()
