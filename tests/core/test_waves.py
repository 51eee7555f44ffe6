"""The wave table: every state against every message, for each generation."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest

from dp_coordinator.core.dialect import Dialect, UnknownDialectError
from dp_coordinator.core.events import Event, NewRequestNotified, StartWaveRequested, WaveCompleted
from dp_coordinator.core.events import WaveMessage as Message
from dp_coordinator.core.waves import Relation, rules
from tests.core.driver import Driver, announced, starts

CURRENT = 5


def at_wave_five(dialect: str, *, running: bool) -> Driver:
    driver = Driver(dialect=dialect)
    driver.feed(WaveCompleted(0, CURRENT - 1))
    if running:
        driver.feed(StartWaveRequested(0, CURRENT))
    assert (driver.core.current_wave, driver.core.engines_running) == (CURRENT, running)
    return driver


NOTICE, COMPLETE, START = NewRequestNotified, WaveCompleted, StartWaveRequested
# message, its wave, running before -> (wave, running) after, START broadcasts, announcements
Row: TypeAlias = tuple[Any, int, bool, tuple[int, bool], list[Any], list[Any]]
"""Message, its wave, engines running; wave and running after it, STARTs, announcements."""
ENGINE_ROWS: list[Row] = [
    (COMPLETE, 4, False, (5, False), [], []),
    (COMPLETE, 4, True, (5, True), [], []),
    (COMPLETE, 5, False, (6, False), [], [(6, False)]),
    (COMPLETE, 5, True, (6, False), [], [(6, False)]),
    (COMPLETE, 7, False, (8, False), [], [(8, False)]),
    (COMPLETE, 7, True, (8, False), [], [(8, False)]),
    (START, 4, False, (5, False), [], []),
    (START, 4, True, (5, True), [], []),
    (START, 5, False, (5, True), [(5, 1)], [(5, True)]),
    (START, 5, True, (5, True), [], []),
    (START, 7, False, (7, True), [(7, 1)], [(7, True)]),
    (START, 7, True, (7, True), [(7, 1)], [(7, True)]),
]
NOTICE_ROWS: dict[str, list[Row]] = {
    "0.10.2": [  # a notice sets running and is announced, until 0.28
        (NOTICE, 4, False, (5, True), [(5, None)], [(5, True)]),
        (NOTICE, 5, False, (5, True), [(5, 1)], [(5, True)]),
        (NOTICE, 7, False, (5, True), [(5, 1)], [(5, True)]),
    ],
    "0.29": [  # it only broadcasts START, until 0.32
        (NOTICE, 4, False, (5, False), [(5, None)], []),
        (NOTICE, 5, False, (5, False), [(5, 1)], []),
        (NOTICE, 7, False, (5, False), [(5, 1)], []),
    ],
    "0.33": [(NOTICE, wave, False, (5, False), [], []) for wave in (4, 5, 7)],
}
NOTICE_ROWS["0.28"] = NOTICE_ROWS["0.16"] = NOTICE_ROWS["0.10.2"]
NOTICE_ROWS["0.32"] = NOTICE_ROWS["0.29"]
WHILE_RUNNING: list[Row] = [(NOTICE, wave, True, (5, True), [], []) for wave in (4, 5, 7)]


@pytest.mark.parametrize(
    ("dialect", "row"),
    [(dialect, row) for dialect, rows in NOTICE_ROWS.items() for row in ENGINE_ROWS + rows + WHILE_RUNNING],
    ids=str,
)
def test_transition(dialect: str, row: Row) -> None:
    message, wave, running, after, started, announcements = row
    driver = at_wave_five(dialect, running=running)
    effects = driver.feed(message(1, wave))
    assert (driver.core.current_wave, driver.core.engines_running) == after
    assert starts(effects) == started
    assert announced(effects) == announcements


@pytest.mark.parametrize("dialect", ["0.10.2", "0.16", "0.28", "0.29", "0.32", "0.33"])
def test_the_table_is_total(dialect: str) -> None:
    table = rules(Dialect.for_version(dialect))
    assert set(table) == {(m, r, running) for m in Message for r in Relation for running in (False, True)}


@pytest.mark.parametrize("dialect", ["0.16", "0.28", "0.32"])
def test_a_notice_that_names_no_engine_excludes_nobody(dialect: str) -> None:
    effects = at_wave_five(dialect, running=False).feed(NewRequestNotified(None, CURRENT))
    assert starts(effects) == [(CURRENT, None)]


@pytest.mark.parametrize("event", [NewRequestNotified(0, 0), StartWaveRequested(0, 3), WaveCompleted(0, 3)])
def test_without_wave_coordination_no_wave_moves(event: Event) -> None:
    driver = Driver(dialect="0.16", wave_coordination=False)
    assert driver.feed(event) == []
    assert (driver.core.current_wave, driver.core.engines_running) == (0, False)


@pytest.mark.parametrize(
    ("version", "flags"),
    [
        ("0.10.2", (False, False, True, True, True, False)),
        ("0.17.1", (False, False, True, True, True, False)),
        ("0.18.0", (False, True, False, True, True, False)),
        ("v0.26.0", (False, True, False, True, True, False)),
        ("0.27", (True, True, False, True, True, False)),
        ("0.28.0+cpu", (True, True, False, True, True, False)),
        ("0.29.0rc1", (True, True, False, True, False, False)),
        ("0.32.0", (True, True, False, True, False, True)),
        ("0.33.1.dev3+g123", (True, True, False, False, False, True)),
    ],
)
def test_generations(version: str, flags: Any) -> None:
    d = Dialect.for_version(version)
    assert flags == (
        d.counts_carry_kv_cache_usage,
        d.ready_to_late_subscribers,
        d.growth_clears_running,
        d.notices_accepted,
        d.notice_sets_running,
        d.outputs_carry_weight_version,
    )
    assert d.tested


def test_a_newer_vllm_speaks_the_newest_dialect_and_says_so() -> None:
    assert not Dialect.for_version("0.34.0").tested
    assert not Dialect.for_version("1.0").notices_accepted


@pytest.mark.parametrize("version", ["", "latest", "0.10.1", "0.9.2", "x.y", "-1.0"])
def test_an_unknown_version_is_an_error_in_words(version: str) -> None:
    with pytest.raises(UnknownDialectError, match=r"0\.10\.2"):
        Dialect.for_version(version)
