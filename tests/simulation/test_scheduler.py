"""Which requests run and which wait."""

from __future__ import annotations

from dp_coordinator.simulation.scheduler import Job, Scheduler


def job(number: int, steps: int = 1, prompt_tokens: int = 10) -> Job:
    return Job(b"c", number, prompt_tokens, steps)


def test_first_come_first_served_within_the_limit() -> None:
    scheduler = Scheduler(max_num_seqs=2, kv_cache_tokens=1000)
    for number in range(3):
        scheduler.add(job(number, steps=2))
    assert scheduler.counts == (3, 0)
    scheduler.admit()
    assert scheduler.counts == (1, 2)
    assert scheduler.step() == []
    assert [finished.id for finished in scheduler.step()] == [0, 1]
    assert scheduler.counts == (1, 0)
    assert scheduler.unfinished


def test_a_full_cache_lets_others_wait_but_never_the_only_one() -> None:
    scheduler = Scheduler(max_num_seqs=8, kv_cache_tokens=100)
    scheduler.add(job(0, prompt_tokens=500))
    scheduler.add(job(1, prompt_tokens=10))
    scheduler.admit()
    assert scheduler.counts == (1, 1)
    assert scheduler.kv_cache_usage == 1.0
    scheduler.step()
    scheduler.admit()
    assert scheduler.counts == (0, 1)
    assert scheduler.kv_cache_usage == 0.1


def test_usage_grows_by_a_token_a_step() -> None:
    scheduler = Scheduler(max_num_seqs=8, kv_cache_tokens=100)
    scheduler.add(job(0, steps=5))
    assert scheduler.kv_cache_usage == 0.0
    scheduler.admit()
    scheduler.step()
    assert scheduler.kv_cache_usage == 0.11


def test_it_knows_before_a_step_what_will_be_left_after_it() -> None:
    scheduler = Scheduler(max_num_seqs=1, kv_cache_tokens=100)
    assert not scheduler.unfinished_after_step()
    scheduler.add(job(0, steps=2))
    scheduler.add(job(1, steps=1))
    while scheduler.unfinished:
        scheduler.admit()
        expected = scheduler.unfinished_after_step()
        scheduler.step()
        assert scheduler.unfinished is expected
