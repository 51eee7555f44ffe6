"""A real coordinator, engines that do as they are told, and the page as a person sees it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Playwright, ViewportSize, expect
from websockets.sync.client import connect

from dp_coordinator.client import EngineClient, FrontendClient
from dp_coordinator.handle import DPCoordinator
from tests.web.watching import received

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}

expect.set_options(timeout=15_000)  # a busy machine is slow, not wrong


def launch(playwright: Playwright) -> Browser:
    """Chromium as named by DP_COORDINATOR_CHROMIUM, the distribution's, or Playwright's own."""
    named = os.environ.get("DP_COORDINATOR_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and not Path(playwright.chromium.executable_path).exists():
        pytest.fail("no Chromium: install one (`make setup`) or name one in DP_COORDINATOR_CHROMIUM")
    return playwright.chromium.launch(executable_path=found, args=ARGUMENTS)


class Stack:
    """A coordinator with `engine_count` engines that are connected one by one."""

    def __init__(self, engine_count: int, **options: Any) -> None:
        self.coordinator = DPCoordinator(engine_count, **options)
        self.engine_count = engine_count
        self.engines: list[EngineClient] = []
        self.front_ends: list[FrontendClient] = []

    @property
    def url(self) -> str:
        assert self.coordinator.http_url is not None
        return self.coordinator.http_url

    def connect(self, count: int | None = None) -> None:
        """Subscribe further engines: `count` of them, or all; and one front-end with the last."""
        for _ in range(self.engine_count - len(self.engines) if count is None else count):
            self.engines.append(EngineClient(len(self.engines), *self.coordinator.get_engine_socket_addresses()))
        if len(self.engines) == self.engine_count:
            for engine in self.engines:
                engine.wait_ready(timeout=10)
            self.front_ends.append(FrontendClient(self.coordinator.get_stats_publish_address()))

    def run(self, wave: int = 0) -> None:
        """Rank 0 starts a wave and every rank reports a step of it: rank i with 2 waiting and i + 1 running."""
        self.engines[0].start_wave(wave)
        for i, engine in enumerate(self.engines):
            engine.report_stats(waiting=2, running=i + 1, kv_cache_usage=0.25, step_counter=1, current_wave=wave)

    def complete(self, wave: int) -> None:
        """Every rank is done and the wave ends."""
        for engine in self.engines:
            engine.report_stats(waiting=0, running=0, step_counter=32, current_wave=wave)
        self.engines[0].wave_complete(wave)

    def rest(self, what: str) -> Any:
        """What `GET /api/v1/<what>` says."""
        with urlopen(f"{self.url}/api/v1/{what}", timeout=10) as answer:
            return json.load(answer)

    def close(self) -> None:
        for engine in self.engines:
            engine.close()
        for front_end in self.front_ends:
            front_end.close()
        self.coordinator.close()


@contextlib.contextmanager
def stack(engine_count: int = 2, *, connected: bool = True, **options: Any) -> Iterator[Stack]:
    """A stack for the length of a `with`."""
    made = Stack(engine_count, **options)
    try:
        if connected:
            made.connect()
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def page(browser: Browser, url: str, *, viewport: ViewportSize = WIDE, **options: Any) -> Iterator[Page]:
    """The dashboard, opened. Afterwards: nothing was thrown on it and its CSP blocked nothing."""
    context = browser.new_context(viewport=viewport, **options)
    context.set_default_timeout(15_000)
    tab = context.new_page()
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda m: faults.append(m.text) if "Content Security Policy" in m.text else None)
    try:
        tab.goto(url)
        yield tab
        assert faults == []
    finally:
        context.close()


def stat(tab: Page, label: str) -> Locator:
    """The value in the header under a label."""
    return tab.get_by_label("State", exact=True).locator(".stat", has=tab.get_by_text(label, exact=True)).locator("dd")


def rank(tab: Page, index: int) -> Locator:
    """The row of a rank in the engine table."""
    return tab.locator(f"tr[data-rank='{index}']")


def phase(tab: Page, name: str) -> None:
    """Wait until the page says that phase."""
    expect(tab.get_by_test_id("phase")).to_have_text(name)


def eventually(check: Callable[[], None], meanwhile: Callable[[], None]) -> None:
    """Repeat something (a rank that goes on reporting) until an expectation, which waits by itself, is met."""
    for _ in range(60):
        meanwhile()
        with contextlib.suppress(AssertionError):
            check()
            return
    check()


def assert_accessible(tab: Page) -> None:
    """axe-core finds nothing to complain of."""
    found = Axe().run(tab).response["violations"]
    told = [(v["impact"], v["id"], [node["html"][:160] for node in v["nodes"]][:3]) for v in found]
    assert told == []


def kept(made: Stack, name: str) -> float:
    """Wait until the server's history has a state of that phase; when it was taken."""
    with connect(f"{made.url.replace('http', 'ws', 1)}/api/v1/stream", proxy=None) as stream:
        for _ in received(stream):
            told = made.rest(f"history/states?at={time.time()}")
            for at, state in zip(told["at"], told["states"], strict=True):
                if state["state"] == name:
                    return float(at)
    raise AssertionError
