"""Waiting for what nothing announces."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds: a busy machine is slow, not wrong."""
LOOK_EVERY_S = 0.002
AT_LAST_EVERY_S = 0.1


def wait_until(condition: Callable[[], T | None], what: str, timeout: float = PATIENCE) -> T:
    """The first truthy answer; it is asked for often, then seldom. A server that is not there yet is asked again."""
    deadline, pause = time.monotonic() + timeout, LOOK_EVERY_S
    while True:
        failure: Exception | None = None
        try:
            if answer := condition():
                return answer
        except (OSError, httpx.TransportError) as error:
            failure = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}") from failure
        time.sleep(pause)
        pause = min(AT_LAST_EVERY_S, pause * 1.1)
