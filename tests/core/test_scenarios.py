"""Every scenario file says what the core does. `--rewrite-scenarios` regenerates them; read the diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.scenario import run

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_scenario(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text()
    outcome = run(text)
    if request.config.getoption("--rewrite-scenarios"):
        path.write_text(outcome)
    else:
        assert outcome == text


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 6
