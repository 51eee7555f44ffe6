"""The coordinator's process is killed under a page that is open: what is seen until all is as it was."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.rig import PHONE, Stack, assert_accessible, page, phase, stack, stat

WATCH_WAVES = """dd => {
  window.wavesShown = [];
  const note = () => {
    const shown = document.querySelectorAll(".stat dd .stat-value")[0]?.textContent;
    if (shown !== window.wavesShown.at(-1)) window.wavesShown.push(shown);
  };
  note();
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


class Polling:
    """Engines and front-ends that look at their sockets, as vLLM's do: one that does not is not subscribed again."""

    def __init__(self, made: Stack) -> None:
        self.lock = threading.Lock()
        """To be held by whoever uses a client meanwhile: none is thread-safe."""
        self._made = made
        self._busy: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engines")
        self._thread.start()

    def busy(self, *engines: int) -> None:
        """From now on these engines look at nothing, and the others do."""
        with self.lock:
            self._busy = set(engines)

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.01):
            with self.lock:
                for engine in self._made.engines:
                    if engine.engine_index not in self._busy:
                        engine.poll_start()
                for front_end in self._made.front_ends:
                    front_end.update()


@contextmanager
def supervised(engine_count: int = 4, **options: Any) -> Iterator[tuple[Stack, Polling]]:
    """A stack whose coordinator is started again when it dies, at wave 57."""
    with stack(engine_count, supervised=True, **options) as made:
        for engine in made.engines[:2]:  # so far ahead one alone is not believed
            engine.wave_complete(56)
        while made.front_ends[0].current_wave < 57:
            made.front_ends[0].wait_update(timeout=10)
        polling = Polling(made)
        try:
            yield made, polling
        finally:
            polling.end()


def kill_worker(made: Stack) -> None:
    os.kill(made.coordinator.worker_pid(), signal.SIGKILL)


def lost(tab: Page) -> None:
    expect(tab.get_by_role("alert").filter(has_text="Disconnected")).to_be_visible()


def banner(tab: Page) -> Locator:
    return tab.get_by_test_id("recovery")


def wave_row(tab: Page, text: str) -> Locator:
    return tab.locator("#waves tbody tr").filter(has_text=text)


def test_a_restart_is_seen_from_the_cut_to_the_end_of_its_recovery(browser: Browser) -> None:
    with supervised() as (made, polling), page(browser, made.url) as tab:
        expect(stat(tab, "Wave")).to_have_text("57")
        with polling.lock:
            made.run(57)
        phase(tab, "RUNNING")
        expect(tab.get_by_test_id("restarts")).to_have_count(0)
        tab.evaluate(WATCH_WAVES)
        polling.busy(3)
        kill_worker(made)

        lost(tab)
        expect(stat(tab, "Wave")).to_have_text("57")
        expect(tab.locator(".phase-age")).to_have_text("when last heard")

        expect(banner(tab)).to_have_text("Recovering: 3 of 4 engines are back; wave 57 was resumed")
        phase(tab, "RECOVERING")
        expect(stat(tab, "Wave")).to_have_text("57")
        expect(stat(tab, "Running")).to_have_text("—")
        expect(tab.get_by_text("Engine gone")).to_have_count(0)
        expect(tab.get_by_test_id("restarts")).to_have_text(re.compile(r"^1 restart at \d\d:\d\d:\d\d$"))
        expect(tab.locator("#start-why")).to_contain_text("3 of 4 engines have subscribed again after the restart")
        expect(tab.get_by_test_id("announcer")).to_have_text("recovering, wave 57")
        assert tab.title() == "DP coordinator · recovering · wave 57"
        assert_accessible(tab)

        polling.busy()
        expect(banner(tab)).to_have_text("Recovering: START was sent for wave 57, waiting for its end")
        expect(tab.locator("#waves .row-open")).to_contain_text("after a restart")
        with polling.lock:
            made.complete(57)
        expect(banner(tab)).to_have_text(re.compile(r"Recovered.* after the restart, which resumed wave 57"))
        expect(stat(tab, "Wave")).to_have_text("58")
        assert_accessible(tab)
        shown = [int(text) for text in tab.evaluate("wavesShown") if text.isdigit()]
        assert shown == sorted(shown)
        assert {57, 58} == set(shown)


def test_what_was_before_a_restart_is_kept_apart(browser: Browser) -> None:
    with supervised() as (made, polling), page(browser, made.url) as tab:
        with polling.lock:
            made.run(57)
        phase(tab, "RUNNING")
        kill_worker(made)
        lost(tab)
        expect(banner(tab)).to_contain_text("Recovering")

        before = wave_row(tab, "engine · rank 0")
        expect(before).to_contain_text("57")
        expect(before).to_contain_text("cut off")
        expect(wave_row(tab, "before the restart at")).to_contain_text("as last heard")
        rows = tab.locator("#waves tbody tr").all_inner_texts()
        assert "after a restart" in rows[0]
        assert "before the restart" in rows[1]

        tab.get_by_label("Show events of kind").select_option("all")
        log = tab.locator("#log li")
        expect(log.filter(has_text="Coordinator came back (restart 1) with wave 57")).to_have_count(1)
        expect(log.filter(has_text="START for wave 57 broadcast, after the restart")).to_have_count(1)
        told = "Coordinator restarted: older entries are of its earlier incarnation"
        expect(tab.locator("#log .log-marker")).to_have_text([told])
        kinds = [item or "cut" for item in log.evaluate_all("all => all.map(li => li.dataset.kind)")]
        assert kinds.index("coordinator_started") < kinds.index("cut") < kinds.index("wave_started")

        tab.reload()
        expect(tab.get_by_test_id("restarts")).to_be_visible()
        expect(wave_row(tab, "engine · rank 0")).to_have_count(0)
        expect(wave_row(tab, "before the restart")).to_have_count(0)
        expect(log.filter(has_text="Coordinator came back (restart 1)")).to_have_count(1)


def test_what_came_of_a_start_is_not_known_when_the_coordinator_died_meanwhile(browser: Browser) -> None:
    with supervised(manual_start_timeout=60.0) as (made, polling), page(browser, made.url) as tab:
        expect(tab.get_by_role("button", name="Start wave")).to_be_enabled()
        tab.keyboard.press("s")
        tab.get_by_role("dialog").get_by_role("textbox").fill("nobody answers")
        tab.keyboard.press("Enter")
        outcome = tab.get_by_test_id("outcome")
        expect(outcome).to_contain_text("no rank has joined yet")
        polling.busy(0, 1, 2, 3)
        kill_worker(made)
        expect(tab.get_by_role("dialog")).to_contain_text("Disconnected")
        expect(outcome).to_have_text("The coordinator was restarted: what came of this is not known")


def test_a_recovery_fits_a_phone(browser: Browser) -> None:
    with (
        supervised() as (made, polling),
        page(browser, made.url, viewport=PHONE, color_scheme="dark") as tab,
    ):
        phase(tab, "PAUSED")
        polling.busy(1, 3)
        kill_worker(made)
        expect(banner(tab)).to_contain_text("2 of 4 engines are back")
        expect(tab.locator(".footer")).to_contain_text("1 restart at")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert_accessible(tab)
