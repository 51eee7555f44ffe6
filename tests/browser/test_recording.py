"""A recording: downloaded from the page, and shown by it."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.rig import PHONE, assert_accessible, page, phase, stack
from tests.cli.run import running


def test_none_is_offered_where_nothing_is_recorded(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        phase(tab, "PAUSED")
        expect(tab.locator(".footer")).to_contain_text("dp-coordinator")
        expect(tab.get_by_role("button", name="Download recording")).to_have_count(0)


def test_one_is_downloaded_and_shown_with_its_controls(browser: Browser, tmp_path: Path) -> None:
    saved = tmp_path / "it.dprec"
    with stack(record=str(tmp_path / "held")) as made, page(browser, made.url) as tab:
        made.run(0)
        phase(tab, "RUNNING")
        made.complete(0)
        phase(tab, "PAUSED")
        made.run(1)
        phase(tab, "RUNNING")
        with tab.expect_download() as got:
            tab.get_by_role("button", name="Download recording").click()
        assert got.value.suggested_filename.endswith(".dprec")
        got.value.save_as(saved)
    with running("view", str(saved), "--http", "127.0.0.1:0") as process:
        assert process.stdout is not None
        assert "recording of" in process.stdout.readline()
        url = process.stdout.readline().split()[1]
        with page(browser, url) as tab:
            bar = tab.get_by_role("region", name="Recording", exact=True)
            expect(bar).to_contain_text("RECORDING")
            expect(bar).to_contain_text("nothing here is live")
            bar.get_by_label("Place in the recording").press("End")
            expect(tab.locator("#log")).to_contain_text("READY sent to the engines")
            expect(tab.locator("#log")).not_to_contain_text("Coordinator restarted")
            expect(tab.locator(".age")).to_have_text("recording")
            expect(tab.get_by_role("button", name="Start wave")).to_be_disabled()
            assert_accessible(tab)
            bar.get_by_role("combobox", name="Speed").select_option("8")
            expect(bar.get_by_role("combobox", name="Speed")).to_have_value("8")
            expect(bar.get_by_role("button", name="Play")).to_be_visible()  # it is short: its end has come
            tab.set_viewport_size(PHONE)
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert_accessible(tab)
