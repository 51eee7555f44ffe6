from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web.rig import Site, site


@pytest.fixture
def fresh() -> Iterator[Site]:
    """A server of its own, with four engines subscribed."""
    with site() as running:
        running.loop.subscribe_all()
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    """One server for a module's tests that only read."""
    with site() as running:
        running.loop.subscribe_all()
        yield running
