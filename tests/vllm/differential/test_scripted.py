"""Random stimuli to vLLM's own loop and to ours: what must be equal is equal, but for the named differences."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from dp_coordinator.core import Dialect
from tests.vllm.differential import generations
from tests.vllm.differential.comparison import difference, shortest
from tests.vllm.differential.generator import Generator, Sequence
from tests.vllm.differential.scripted import Stimulus

pytestmark = pytest.mark.vllm

SEQUENCES, STIMULI = 200, 200
FIRST_SEED = int(os.environ.get("DP_COORDINATOR_DIFFERENTIAL_SEED", "0"))


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="dp_coordinator")


def differs(sequence: Sequence, module: ModuleType, stimuli: list[Stimulus]) -> bool:
    """Whether it still shows a difference with so many stimuli."""
    return difference(replace(sequence, stimuli=stimuli), module) is not None


@pytest.mark.parametrize("wave_coordination", [True, False], ids=["waves", "dense"])
@pytest.mark.parametrize("which", [generations.INSTALLED, *generations.OTHERS])
def test_no_difference_that_is_not_named(which: str, wave_coordination: bool) -> None:
    missing = generations.why_missing(which)
    if missing is not None:
        pytest.skip(missing)
    version, module = generations.load(which)
    dialect = Dialect.for_version(version)
    if not wave_coordination and not generations.has_dense_mode(version):
        pytest.skip(f"vLLM {version} coordinates waves always")
    for seed in range(FIRST_SEED, FIRST_SEED + SEQUENCES):
        sequence = Generator(seed, dialect, wave_coordination=wave_coordination).sequence(seed, STIMULI)
        found = difference(sequence, module)
        if found is not None:
            least = shortest(sequence.stimuli, partial(differs, sequence, module))
            small = replace(sequence, stimuli=least)
            pytest.fail(f"{difference(small, module)}\n{small.what()}")


@pytest.mark.parametrize("wrong", ["0.17", "0.26", "0.28", "0.33"])
def test_another_generation_is_noticed_and_shown_briefly(wrong: Any) -> None:
    missing = generations.why_missing("0.32.0")
    if missing is not None:
        pytest.skip(missing)
    _, module = generations.load("0.32.0")
    sequence = Generator(2, Dialect.for_version("0.32"), wave_coordination=True).sequence(2, STIMULI)
    assert difference(sequence, module) is None
    mistaken = replace(sequence, dialect=Dialect.for_version(wrong))
    assert difference(mistaken, module) is not None
    least = shortest(mistaken.stimuli, partial(differs, mistaken, module))
    # Its engines' subscriptions, and what it takes to see the one rule that is different.
    assert len(least) <= sequence.engine_count + 4
