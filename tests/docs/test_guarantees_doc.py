"""docs/guarantees.md: each promise names a test or a command that exists, and SECURITY.md leads there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/guarantees.md").read_text()
PROMISES = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TEXT.partition("## What is promised")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| promise ")
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_there_are_promises() -> None:
    assert len(PROMISES) >= 10


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise[0][:60])
def test_each_promise_is_tested_by_something_that_exists(promise: list[str]) -> None:
    named = re.findall(r"`([^`]+)`", promise[1])
    assert named, "nothing tests it"
    for name in named:
        if name.startswith("make "):
            assert name.split()[1] in TARGETS, name
        elif name.startswith("python -m "):
            assert (ROOT / f"{name.split()[2].replace('.', '/')}.py").is_file(), name
        else:
            assert (ROOT / name).is_file(), name


def test_nothing_is_left_to_be_filled_in() -> None:
    assert not re.findall(r"\b[A-Z]{5,}\b(?!_)", re.sub(r"`[^`]*`|SIGSTOP|START|READY", "", TEXT))


def test_the_security_policy_leads_here() -> None:
    assert "docs/guarantees.md" in (ROOT / "SECURITY.md").read_text()
