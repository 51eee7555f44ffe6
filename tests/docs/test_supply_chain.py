"""What is installed is locked: exact versions, the same everywhere, each with the hashes of its files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKED = {name: (ROOT / f"requirements/{name}.txt").read_text() for name in ("run", "dev", "build")}
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)", re.MULTILINE)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(text: str) -> dict[str, str]:
    return {normal(name): version for name, version in _PINNED.findall(text)}


def named(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[<>=!~\[; ]", each)[0]) for each in requirements}


@pytest.mark.parametrize("name", LOCKED)
def test_every_version_is_that_of_constraints(name: str) -> None:
    constrained = versions((ROOT / "constraints.txt").read_text())
    elsewhere = {"cffi", "colorama", "pycparser", "pyyaml-ft"}  # of platforms that constraints.txt was not made on
    locked = {key: version for key, version in versions(LOCKED[name]).items() if key not in elsewhere}
    assert locked.items() <= constrained.items(), "run: scripts/lock --keep"


@pytest.mark.parametrize("name", LOCKED)
def test_every_package_has_hashes(name: str) -> None:
    entries = re.split(r"\n(?=[A-Za-z])", LOCKED[name].partition("\n")[2])
    assert len(entries) == len(versions(LOCKED[name]))
    assert all("--hash=sha256:" in entry for entry in entries)


def test_what_is_asked_for_is_locked() -> None:
    run, extras = PROJECT["project"]["dependencies"], PROJECT["project"]["optional-dependencies"]
    assert named(run) <= set(versions(LOCKED["run"])), "run: scripts/lock --keep"
    assert named(run + extras["dev"]) <= set(versions(LOCKED["dev"])), "run: scripts/lock --keep"
    assert named(PROJECT["build-system"]["requires"]) <= set(versions(LOCKED["build"])), "run: scripts/lock --keep"


def test_the_image_is_built_of_what_is_locked_and_its_bases_can_be_named_by_digest() -> None:
    file = (ROOT / "backend/Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", file, re.MULTILINE) == ["${NODE_IMAGE}", "${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]
    installs = [line for line in file.splitlines() if "pip" in line and " install " in line]
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    release = (ROOT / ".github/workflows/release.yml").read_text()
    assert "@sha256:" in release
    assert "scripts/sbom" in release
