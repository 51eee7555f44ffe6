"""Whole simulated deployments: every request is answered, waves come and go, and deaths are survived."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.simulation.conftest import Deployment, Process

    Deploy = Callable[[int, str], Deployment]
    Account = Callable[[Process], dict[str, int]]


@pytest.mark.parametrize(("engines", "dialect"), [(2, "0.16"), (2, "0.29"), (2, "0.33"), (4, "0.28"), (4, "0.33")])
def test_all_requests_finish_and_waves_advance(deploy: Deploy, account: Account, engines: int, dialect: str) -> None:
    deployment = deploy(engines, dialect)
    front_ends = [deployment.front_end(40, index=index, count=2) for index in range(2)]
    for front_end in front_ends:
        assert account(front_end) == {"sent": 40, "finished": 40, "resent": 0}
    deployment.watch_until(lambda seen: seen.current_wave >= 1 and not seen.engines_running)
    ended = deployment.watcher.current_wave
    assert account(deployment.front_end(5))["finished"] == 5
    deployment.watch_until(lambda seen: seen.current_wave > ended and not seen.engines_running)


def paused_at(wave: int, seen: Any) -> bool:
    return bool(seen.current_wave == wave and not seen.engines_running)


def test_a_lone_request_wakes_every_engine(deploy: Deploy, account: Account) -> None:
    deployment = deploy(2, "0.33")
    for wave in range(1, 3):
        assert account(deployment.front_end(1, seed=wave))["finished"] == 1
        deployment.watch_until(partial(paused_at, wave))


def test_the_others_finish_when_an_engine_is_killed_and_it_takes_part_again_after(
    deploy: Deploy, account: Account
) -> None:
    deployment = deploy(3, "0.33")
    front_end = deployment.front_end(100, request_timeout_s=1.0)
    deployment.watch_until(lambda seen: deployment.load_of(1))
    deployment.kill(1)
    result = account(front_end)
    assert result["finished"] == result["sent"] == 100
    assert result["resent"] >= 1

    deployment.respawn(1)
    deployment.watch_until(lambda seen: not deployment.load_of(1))  # it says that it has nothing (left)
    again = deployment.front_end(60)
    deployment.watch_until(lambda seen: deployment.load_of(1))
    assert account(again) == {"sent": 60, "finished": 60, "resent": 0}


@pytest.mark.parametrize("dialect", ["0.16", "0.32"])
def test_an_engine_that_is_killed_and_back_in_the_middle_of_a_wave_joins_it(
    deploy: Deploy, account: Account, dialect: str
) -> None:
    deployment = deploy(2, dialect)
    front_end = deployment.front_end(60, request_timeout_s=1.5, max_steps=200)
    deployment.watch_until(lambda seen: deployment.load_of(1) and seen.engines_running)
    deployment.kill(1)
    deployment.respawn(1)
    assert account(front_end)["finished"] == 60


def test_the_death_of_the_one_that_hosts_the_collective_stops_the_others_until_it_is_back(
    deploy: Deploy, account: Account
) -> None:
    deployment = deploy(3, "0.33")
    front_end = deployment.front_end(80, request_timeout_s=1.5)
    deployment.watch_until(lambda seen: deployment.load_of(2))
    deployment.kill(0)
    deployment.respawn(0)
    assert account(front_end)["finished"] == 80
