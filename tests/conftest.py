"""Options and fixtures for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-scenarios", action="store_true", help="write tests/scenarios anew")


@pytest.fixture(scope="session", autouse=True)
def _signals_as_in_a_terminal() -> None:
    """What the tests start inherits what they ignore: SIGHUP under nohup, SIGINT and SIGQUIT in the background."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="module")
def untraced() -> Iterator[None]:
    """`make coverage` does not follow the searches: they reach what other tests reach, millions of times."""
    import coverage  # the environment with vLLM, in which the differential tests run, is without

    tracing = coverage.Coverage.current()
    if tracing is not None:
        tracing.stop()
    yield
    if tracing is not None:
        tracing.start()
