"""Telling who does not look: the tab, the browser's notifications, and a row for each other deployment."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, expect

from tests.browser.rig import assert_accessible, page, phase, stack

NOTIFICATIONS = """
window.told = [];
window.Notification = class {
  static permission = 'granted';
  static async requestPermission() { return 'granted'; }
  constructor(title, options) { window.told.push([title, options.body]); }
};
document.hasFocus = () => false;
"""


def test_the_tab_carries_name_state_and_alarms(browser: Browser) -> None:
    with stack(name="prod") as made, page(browser, made.url) as tab:
        made.run(0)
        phase(tab, "RUNNING")
        expect(tab).to_have_title("prod · running · wave 0")
        expect(tab.get_by_role("heading", level=1)).to_have_text("prod")
        calm = tab.locator("link[rel=icon]").get_attribute("href")
        made.engines.pop().close()
        expect(tab).to_have_title(re.compile(r"^\(1\) prod · "))
        assert tab.locator("link[rel=icon]").get_attribute("href") != calm


def test_who_asked_for_it_is_notified(browser: Browser) -> None:
    with stack() as made, page(browser, "about:blank") as tab:
        tab.add_init_script(NOTIFICATIONS)
        tab.goto(made.url)
        tab.keyboard.press("?")
        tab.get_by_role("button", name="Notify me", exact=True).click()
        expect(tab.get_by_role("button", name="Stop notifying me")).to_be_visible()
        assert_accessible(tab)
        made.engines.pop().close()
        expect(tab).to_have_title(re.compile(r"^\(1\) "))
        [[title, body]] = tab.evaluate("window.told")
        assert title == "DP coordinator: critical"
        assert body.startswith("Engine gone")
        tab.reload()
        tab.keyboard.press("?")
        expect(tab.get_by_role("button", name="Stop notifying me")).to_be_visible()


def test_two_see_each_other_and_one_that_dies_turns_grey_with_its_age(browser: Browser) -> None:
    with stack(name="left") as left, stack(name="right", peers=left.url) as right, page(browser, right.url) as tab:
        row = tab.locator("#deployments tbody tr")
        expect(row.get_by_role("link", name="left")).to_have_attribute("href", left.url)
        expect(row).to_contain_text("paused")
        expect(row).to_contain_text("none")
        assert_accessible(tab)
        left.coordinator.proc.kill()
        expect(row).to_have_class(re.compile("deployment-gone"))
        expect(row).to_contain_text("was paused")
        expect(row).to_contain_text(re.compile(r"\d s ago"))
        assert_accessible(tab)
    with stack() as alone, page(browser, alone.url) as tab:
        expect(tab.locator("#engines")).to_be_visible()
        expect(tab.locator("#deployments")).to_have_count(0)
