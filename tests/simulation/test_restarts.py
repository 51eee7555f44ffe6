"""A supervised coordinator that is killed again and again: no request is lost or stranded, and no wave goes back.

`python -m benchmarks.restarts` does the same for longer, and says more about times.
"""

from __future__ import annotations

import pytest

from benchmarks.restarts import DIALECTS, run

KILLS = 7


@pytest.mark.parametrize("dialect", DIALECTS)
def test_kills_under_traffic_and_while_paused_lose_nothing(dialect: str) -> None:
    figures = run(dialect, KILLS, seed=20)
    assert (figures.lost, figures.stranded) == (0, 0), figures
    assert figures.finished == figures.sent > KILLS
    assert figures.kills == figures.restarts == len(figures.recovery_s) == KILLS
    assert not figures.waves_went_back
    assert figures.waves > 1
