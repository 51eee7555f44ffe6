"""Starting a wave by hand: from the key press to what was observed."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from dp_coordinator.client import StartWave
from tests.browser.rig import assert_accessible, page, phase, stack


def ask(tab: Page, reason: str) -> None:
    tab.get_by_role("button", name="Start wave…").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name="Start wave").click()


def test_what_was_observed_is_told(browser: Browser) -> None:
    with stack(4) as made, page(browser, made.url) as tab:
        tab.get_by_role("button", name="Start wave…").click()
        dialog = tab.get_by_role("dialog")
        expect(dialog.get_by_label("Reason")).to_be_focused()
        expect(dialog.get_by_role("button", name="Start wave")).to_be_disabled()
        assert_accessible(tab)
        dialog.get_by_label("Reason").fill("two requests wait")
        dialog.get_by_role("button", name="Start wave").click()
        outcome = tab.get_by_test_id("outcome")
        expect(outcome).to_contain_text("no rank seen stepping yet")
        for engine in made.engines:
            assert engine.receive_start(timeout=10) == StartWave(0, None)
        made.engines[2].report_stats(waiting=0, running=1, step_counter=0, current_wave=0)
        expect(outcome).to_contain_text("1 of 4 ranks seen stepping")
        made.complete(0)
        expect(outcome).to_contain_text("4 of 4 ranks stepping after")
        assert_accessible(tab)
        tab.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(tab.locator("#waves")).to_contain_text("4 of 4 ranks stepping after")
        expect(tab.locator("#log")).to_contain_text('Manual start of wave 0 asked "two requests wait"')


def test_what_is_typed_right_after_the_key_is_not_lost(browser: Browser) -> None:
    press_and_look = """async () => {
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "s", bubbles: true }));
        for (let task = 0; task < 10; task++) await null;  // microtasks: no frame is drawn meanwhile
        return document.activeElement.id;
    }"""
    with stack() as made, page(browser, made.url) as tab:
        phase(tab, "PAUSED")
        assert tab.evaluate(press_and_look) == "start-reason"


def test_who_was_silent_is_told(browser: Browser) -> None:
    with stack(3, manual_start_timeout=2.0) as made, page(browser, made.url) as tab:
        ask(tab, "nobody is there")
        outcome = tab.get_by_test_id("outcome")
        expect(outcome).to_contain_text("no rank was seen stepping (0 of 3)")
        tab.get_by_role("dialog").get_by_role("button", name="Close").click()
        made.engines[0].report_stats(waiting=0, running=1, step_counter=0, current_wave=0)
        made.engines[0].receive_start(timeout=10)  # of the first one
        ask(tab, "rank 0 hears it")
        made.engines[0].receive_start(timeout=10)
        made.engines[0].report_stats(waiting=1, running=1, step_counter=0, current_wave=0)
        expect(outcome).to_contain_text("ranks 1 and 2 were not seen stepping (1 of 3)")


def test_a_refusal_is_shown_with_its_reason_and_can_be_repaired(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        tab.get_by_role("button", name="Start wave…").click()
        dialog = tab.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("it looks stuck")
        made.run(0)
        expect(dialog).to_contain_text("wave 0 is running already")
        made.complete(0)
        expect(dialog).to_contain_text("The current wave has become 1")
        dialog.get_by_role("button", name="Start wave").click()
        expect(dialog.get_by_role("alert")).to_contain_text("the current wave is 1, not 0")
        expect(dialog.get_by_label("Reason")).to_have_value("it looks stuck")
        dialog.get_by_role("button", name="Start wave").click()
        expect(tab.get_by_test_id("outcome")).to_contain_text("Asked")
        expect(tab.locator("#log")).to_contain_text("Manual start refused: the current wave is 1, not 0")


def test_asking_again_after_a_lost_answer_asks_once(browser: Browser) -> None:
    with stack() as made, page(browser, made.url) as tab:
        answered = []

        def lose_the_first_answer(route: object) -> None:
            response = route.fetch()  # type: ignore[attr-defined]
            answered.append(response.status)
            if len(answered) == 1:
                route.abort()  # type: ignore[attr-defined]
            else:
                route.fulfill(response=response)  # type: ignore[attr-defined]

        tab.route("**/api/v1/waves", lose_the_first_answer)
        ask(tab, "the network is bad")
        dialog = tab.get_by_role("dialog")
        expect(dialog.get_by_role("alert")).to_contain_text("it is not known whether the wave was asked for")
        dialog.get_by_role("button", name="Start wave").click()
        expect(tab.get_by_test_id("outcome")).to_contain_text("Asked")
        assert answered == [202, 202]
        expect(tab.locator("#log li[data-kind=manual_start_asked]")).to_have_count(1)
        phase(tab, "STARTING")
