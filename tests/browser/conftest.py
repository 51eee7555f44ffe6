"""One Chromium for all browser tests; every test here carries the `browser` mark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from dp_coordinator.web.settings import STATIC_DIR
from tests.browser.rig import launch

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


# By module: Playwright's event loop must be gone before asyncio tests run. Where folders have no __init__.py, a package
# scope lasts until the session's end.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not (STATIC_DIR / "index.html").is_file():
        pytest.fail("the page is not built: run `make setup`, or `npm ci && npm run build` in frontend/")
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()
