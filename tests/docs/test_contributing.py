"""The files that CONTRIBUTING.md sends people to are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w./]+(?:\.(?:py|md|txt|toml)|/\w+))`", TEXT)))


def test_each_walk_names_files() -> None:
    walks = TEXT.partition("## Four walks\n")[2].partition("\n## ")[0].split("\n\n**")[1:]
    assert [walk.partition(".**")[0] for walk in walks] == ["A wave rule", "A flag", "An event's sentence", "An alarm"]
    for walk in walks:
        assert any(f"`{name}`" in walk for name in NAMED), walk


@pytest.mark.parametrize("name", NAMED)
def test_it_is_there(name: str) -> None:
    assert (ROOT / name).exists() or (ROOT / "backend/dp_coordinator" / name).exists()
