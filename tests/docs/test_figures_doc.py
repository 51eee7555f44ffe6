"""docs/figures.md names the command behind each figure, and the README quotes it word for word."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS

ROOT = Path(__file__).parents[2]
FIGURES = (ROOT / "docs/figures.md").read_text()


def rows(text: str) -> list[list[str]]:
    """The cells of each row of its tables, their heads left out."""
    lines = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines if line[0].strip() not in ("figure", "---")]


COMMANDS = sorted({command for *_, cell in rows(FIGURES) for command in re.findall("`(.+?)`", cell)})


def test_each_figure_names_its_command() -> None:
    assert len(rows(FIGURES)) > 20
    for row in rows(FIGURES):
        assert re.fullmatch("`.+`", row[-1]), row


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_is_one_that_exists(command: str) -> None:
    if command in BENCHMARKS:
        return
    program, *words = command.removeprefix("python -m ").split()
    if program == "npm":
        assert words[-1] in json.loads((ROOT / "frontend/package.json").read_text())["scripts"]
        return
    shown = [sys.executable, "-m", program, "--help"]
    told = subprocess.run(shown, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    for option in (word for word in words if word.startswith("--")):
        assert f"{option} " in told


def test_the_readme_quotes_them_as_they_are() -> None:
    section = (ROOT / "README.md").read_text().partition("## Figures\n")[2].partition("\n## ")[0]
    quoted = rows(section)
    assert len(quoted) >= 4
    measured = [row[: len(quoted[0])] for row in rows(FIGURES)]
    for row in quoted:
        assert row in measured, row


def test_nothing_says_that_the_package_is_on_an_index() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(r"pip install '?dp-coordinator", page.read_text()), page
