"""What tests/equivalent_mutants.toml says of the code is said of the code as it is."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("core", "wire", "alarms")


def test_what_is_listed_as_changed_is_there_to_be_changed() -> None:
    files = [path for part in PARTS for path in (ROOT / "backend/dp_coordinator" / part).glob("*.py")]
    lines = "\n".join(line.strip() for path in files for line in path.read_text().splitlines())
    listed = tomllib.loads((ROOT / "tests/equivalent_mutants.toml").read_text())
    assert [entry["was"] for entry in listed["mutant"] + listed["kind"] if entry["was"].strip() not in lines] == []
    assert all(entry["why"] for entry in listed["mutant"] + listed["kind"])
