"""The engine's busy loop, by tables: what each vLLM generation says when."""

from __future__ import annotations

import pytest

from dp_coordinator.client import StartWave
from dp_coordinator.core import Dialect
from dp_coordinator.simulation.collective import AllReduceResult
from dp_coordinator.simulation.loop import (
    Effect,
    EngineLoop,
    Finish,
    ReportStats,
    SendStartWave,
    SendWaveComplete,
)
from dp_coordinator.simulation.scheduler import Job, Scheduler

VERSIONS = ["0.16", "0.29", "0.32", "0.33"]


def engine(version: str = "0.33", rank: int = 0, wave: int = 0, running: bool = False) -> EngineLoop:
    loop = EngineLoop(rank, Dialect.for_version(version), Scheduler(max_num_seqs=8, kv_cache_tokens=1000))
    loop.wave, loop.running = wave, running
    return loop


def job(steps: int = 1) -> Job:
    return Job(b"c", 1, prompt_tokens=100, steps=steps)


def give(loop: EngineLoop, wave: int, steps: int = 1) -> list[Effect]:
    """One turn in which a request arrives."""
    loop.open_turn()
    return [*loop.request(job(steps), wave), *loop.close_turn()]


def nothing(loop: EngineLoop) -> list[Effect]:
    """One turn in which nothing arrives."""
    loop.open_turn()
    return loop.close_turn()


def step(loop: EngineLoop, others_unfinished: bool = False) -> list[Effect]:
    """One step with all others at the same wave and step."""
    contribution = loop.begin_step()
    assert contribution is not None
    unfinished, wave, number = contribution
    return loop.end_step(AllReduceResult(unfinished or others_unfinished, wave, number))


@pytest.mark.parametrize(
    ("version", "own", "stamped", "running", "sent", "then"),
    [
        # of the present wave, while paused: only the newest engines wake the others themselves
        ("0.16", 3, 3, False, [], (3, False)),
        ("0.29", 3, 3, False, [], (3, False)),
        ("0.32", 3, 3, False, [], (3, False)),
        ("0.33", 3, 3, False, [SendStartWave(3)], (3, True)),
        # of an earlier wave, while paused: the front-end did not know that it had ended
        ("0.16", 3, 2, False, [SendStartWave(3)], (3, True)),
        ("0.33", 3, 2, False, [SendStartWave(3)], (3, True)),
        # of a later wave: this engine learns of it
        ("0.16", 3, 5, False, [], (5, False)),
        ("0.33", 3, 5, False, [SendStartWave(5)], (5, True)),
        # while running nobody has to be told
        ("0.16", 3, 2, True, [], (3, True)),
        ("0.16", 3, 5, True, [], (5, True)),
        ("0.33", 3, 3, True, [], (3, True)),
        ("0.33", 3, 5, True, [], (5, True)),
    ],
)
def test_a_request_arrives(  # noqa: PLR0917
    version: str, own: int, stamped: int, running: bool, sent: list[Effect], then: tuple[int, bool]
) -> None:
    loop = engine(version, wave=own, running=running)
    assert give(loop, stamped) == [*sent, ReportStats(1, 0, 0.0, 0, then[0])]
    assert (loop.wave, loop.running) == then
    assert loop.begin_step() is not None


@pytest.mark.parametrize(
    ("start", "then"),
    [
        (StartWave(3, None), (3, True)),
        (StartWave(5, 0), (5, True)),
        (StartWave(5, 1), (3, False)),  # excluded
        (StartWave(2, None), (3, False)),  # of an earlier wave
    ],
)
def test_a_start_arrives(start: StartWave, then: tuple[int, bool]) -> None:
    loop = engine(rank=1, wave=3)
    loop.start(start)
    assert (loop.wave, loop.running) == then
    assert (loop.begin_step() is not None) is then[1]


def test_counts_are_reported_before_and_after_a_step_with_the_same_step_counter() -> None:
    loop = engine("0.32", rank=1)
    assert give(loop, wave=0, steps=2) == [ReportStats(1, 0, 0.0, 0, 0)]
    assert step(loop) == [ReportStats(0, 1, 0.101, 0, 0)]
    assert nothing(loop) == []
    finish, report = step(loop)
    assert isinstance(finish, Finish)
    assert report == ReportStats(0, 0, 0.0, 1, 0)
    assert loop.step_counter == 2


def test_unchanged_counts_are_not_reported() -> None:
    loop = engine(rank=1, running=True)
    give(loop, wave=0, steps=9)
    assert step(loop) != []
    assert [step(loop) for _ in range(5)] == [[]] * 5


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_wave_ends_at_the_32nd_step(version: str, rank: int) -> None:
    loop = engine(version, rank=rank, wave=4, running=True)
    nothing(loop)
    for number in range(1, 32):
        assert step(loop, others_unfinished=True) == []
        nothing(loop)
        assert loop.step_counter == number
    assert step(loop) == ([SendWaveComplete(4)] if rank == 0 else [])
    assert (loop.wave, loop.step_counter, loop.running) == (5, 0, False)
    assert loop.begin_step() is None


@pytest.mark.parametrize(("version", "ends"), [("0.16", False), ("0.29", False), ("0.32", True), ("0.33", True)])
def test_newer_engines_ask_after_the_first_step_too(version: str, ends: bool) -> None:
    loop = engine(version, rank=1, running=True)
    nothing(loop)
    step(loop)
    assert (loop.wave, loop.running) == ((1, False) if ends else (0, True))


def test_an_unfinished_request_anywhere_keeps_the_wave_going() -> None:
    loop = engine(rank=0, running=True)
    for _ in range(64):
        nothing(loop)
        step(loop, others_unfinished=True)
    assert (loop.wave, loop.step_counter, loop.running) == (0, 64, True)


@pytest.mark.parametrize(
    ("version", "rank", "told"),
    [("0.16", 0, False), ("0.28", 0, False), ("0.29", 0, True), ("0.33", 0, True), ("0.29", 1, False)],
)
def test_rank_0_tells_of_the_idle_to_running_edge_once(version: str, rank: int, told: bool) -> None:
    loop = engine(version, rank=rank, wave=2)
    give(loop, wave=2, steps=5)
    first = step(loop)
    assert (SendStartWave(2) in first) is told
    nothing(loop)
    assert SendStartWave(2) not in step(loop)


def test_rank_0_tells_of_a_wave_that_a_start_began() -> None:
    loop = engine("0.33", rank=0)
    loop.open_turn()
    loop.start(StartWave(0, 1))
    assert loop.close_turn() == []
    assert step(loop, others_unfinished=True) == [SendStartWave(0)]


def test_a_manual_start_without_work_is_one_step_and_one_wave() -> None:
    loop = engine("0.33", rank=0, wave=7)
    loop.open_turn()
    loop.start(StartWave(7, None))
    loop.close_turn()
    assert step(loop) == [SendWaveComplete(7)]
    assert loop.wave == 8


def test_every_rank_stands_where_the_furthest_one_does() -> None:
    loop = engine("0.33", rank=1, wave=0)
    give(loop, wave=0, steps=3)
    assert loop.begin_step() is not None
    loop.end_step(AllReduceResult(True, 6, 17))
    assert (loop.wave, loop.step_counter, loop.running) == (6, 17, True)


@pytest.mark.parametrize(
    ("outcome", "then"),
    [
        (AllReduceResult(True, 6, 17), (6, 17, True)),  # the others run: join in
        (AllReduceResult(False, 6, 17), (6, 17, True)),  # nobody asked at step 17, so they run on
        (AllReduceResult(False, 6, 32), (7, 0, False)),
        (AllReduceResult(False, 6, 1), (7, 0, False)),
        (AllReduceResult(True, 6, 64), (6, 64, True)),
    ],
)
def test_an_engine_that_came_back_catches_up(outcome: AllReduceResult, then: tuple[int, int, bool]) -> None:
    loop = engine("0.33", rank=1)
    assert loop.come_back() == [ReportStats(0, 0, 0.0, 0, 0)]
    assert loop.catch_up(outcome) == []
    assert (loop.wave, loop.step_counter, loop.running) == then


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_came_back_starts_a_wave_for_what_the_others_ended_theirs_without(rank: int) -> None:
    loop = engine("0.33", rank=rank, wave=6, running=True)
    give(loop, wave=6, steps=5)
    assert loop.begin_step() is not None
    effects = loop.end_step(AllReduceResult(False, 6, 32))
    assert [effect for effect in effects if not isinstance(effect, ReportStats)] == [
        *([SendWaveComplete(6)] if rank == 0 else []),
        SendStartWave(7),
    ]
    assert (loop.wave, loop.step_counter, loop.running) == (7, 0, True)


def test_rank_0_says_when_it_comes_back_that_the_wave_ended_without_it() -> None:
    loop = engine("0.33", rank=0)
    assert loop.catch_up(AllReduceResult(False, 6, 32)) == [SendWaveComplete(6)]
    assert loop.catch_up(AllReduceResult(True, 7, 5)) == []
