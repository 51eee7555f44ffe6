"""What docs/deployments.md names is there: tests, files, links, the callback class."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = (ROOT / "docs" / "deployments.md").read_text()
OPERATING = (ROOT / "docs" / "operating.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table after a heading, without its head."""
    after = DEPLOYMENTS.partition(heading)[2].partition("\n#")[0]
    lines = [line for line in after.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_deployment_says_how_it_was_checked() -> None:
    told, checked = rows("# Deployments\n"), [row[0] for row in rows("## How each was checked")]
    assert len(told) == 10
    for row in told:
        name = row[0].partition(",")[0].partition(" (")[0].removesuffix(" load balancing")
        name = name.partition(" in `vllm serve`")[0].partition(" as the server")[0].removeprefix("vLLM's ")
        assert name in checked, name
    assert {row[1] for row in rows("## How each was checked")} <= {"run", "read", "stand-in", "not run"}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+\.py)`", DEPLOYMENTS))))
def test_the_tests_are_there(name: str) -> None:
    assert (ROOT / "tests" / "vllm" / name).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:deploy|tests|backend)/[\w./-]+)`", DEPLOYMENTS))))
def test_the_files_are_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_links_lead_somewhere() -> None:
    for text, other in ((DEPLOYMENTS, OPERATING), (OPERATING, DEPLOYMENTS)):
        theirs = "operating.md" if other is OPERATING else "deployments.md"
        headings = {
            re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in other.splitlines()
            if line.startswith("#")
        }
        for anchor in re.findall(rf"\({re.escape(theirs)}#([\w-]+)\)", text):
            assert anchor in headings, anchor


def test_the_callback_class_is_there() -> None:
    (path,) = set(re.findall(r'"callback_class": "([\w.:]+)"', DEPLOYMENTS))
    module, name = path.split(":")
    source = ROOT / "backend" / (module.replace(".", "/") + ".py")
    assert f"class {name}(" in source.read_text()
