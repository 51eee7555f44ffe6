"""Ten minutes of healthy traffic in bursts, by faithful engines, in virtual time: the detector must be silent.

The engines are the simulation's own loops and schedulers, in lockstep as a collective makes them; front-ends send each
request to the least loaded rank, by the load as it was last published.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from dp_coordinator.client import StartWave
from dp_coordinator.core import Dialect
from dp_coordinator.core.effects import BroadcastStartWave, Effect, PublishLoad
from dp_coordinator.core.events import EngineStatsReported, NewRequestNotified, StartWaveRequested, WaveCompleted
from dp_coordinator.simulation.collective import AllReduceResult
from dp_coordinator.simulation.loop import EngineLoop, Finish, ReportStats, SendStartWave, SendWaveComplete
from dp_coordinator.simulation.scheduler import Job, Scheduler
from tests.alarms.monitored_core import LOOK_S, MonitoredCore
from tests.core.connections import front_end_subscribes

MINUTES = 10
STEP_S = 0.05
BURST_S = (2.0, 45.0)
PAUSE_S = (0.5, 40.0)


class Healthy:
    """A deployment whose every part works."""

    def __init__(self, dialect: str, seed: int, long_requests: bool) -> None:
        self.random = random.Random(seed)
        self.monitored = MonitoredCore(4, dialect, front_ends=2)
        self.dialect = Dialect.for_version(dialect)
        self.engines = [EngineLoop(rank, self.dialect, Scheduler(32, 10_000_000)) for rank in range(4)]
        self.inbox: list[list[Job | StartWave]] = [[] for _ in range(4)]
        self.load = [0] * 4
        self.in_flight = [0] * 4
        self.known_wave = 0
        self.longest = 2400 if long_requests else 60
        self.requests = self.finished = 0
        self.next_look = 0.0

    @property
    def now(self) -> float:
        return self.monitored.now

    def run(self, minutes: float = MINUTES) -> None:
        until = minutes * 60
        bursting, change_at, next_at = True, self.random.uniform(*BURST_S), 0.0
        rate = 4.0
        while self.now < until:
            if self.now >= change_at:
                bursting = not bursting
                change_at = self.now + self.random.uniform(*(BURST_S if bursting else PAUSE_S))
                rate = self.random.choice((0.2, 3.0, 12.0))
                next_at = self.now + self.random.expovariate(rate)
            while bursting and next_at <= self.now:
                self.send_request()
                next_at += self.random.expovariate(rate)
            self.step()
            self.pass_time()

    def send_request(self) -> None:
        rank = min(range(4), key=lambda r: (self.load[r] + self.in_flight[r], self.random.random()))
        self.in_flight[rank] += 1
        steps = self.random.randint(1, self.longest if self.random.random() < 0.1 else 40)
        self.requests += 1
        self.inbox[rank].append(Job(b"", self.requests, 10, steps))
        if self.dialect.notices_accepted and not self.monitored.driver.core.engines_running:
            self.take(self.monitored.driver.feed(NewRequestNotified(rank, self.known_wave)))

    def step(self) -> None:
        """Every engine takes what has come; those that have to step do so together."""
        for rank, engine in enumerate(self.engines):
            engine.open_turn()
            taken, self.inbox[rank] = self.inbox[rank], []
            for message in taken:
                if isinstance(message, Job):
                    self.perform(rank, engine.request(message, self.known_wave))
                else:
                    engine.start(message)
            self.perform(rank, engine.close_turn())
        brought = [engine.begin_step() for engine in self.engines]
        if any(each is None for each in brought):
            return  # those that began wait for the others, which a START wakes
        wave, number = max((each.wave, each.step) for each in brought if each is not None)
        outcome = AllReduceResult(any(each.unfinished for each in brought if each is not None), wave, number)
        for rank, engine in enumerate(self.engines):
            self.perform(rank, engine.end_step(outcome))

    def perform(self, rank: int, effects: Sequence[object]) -> None:
        feed = self.monitored.driver.feed
        for effect in effects:
            match effect:
                case ReportStats(waiting, running, usage, step, wave):
                    self.take(feed(EngineStatsReported(rank, waiting, running, usage, step, wave)))
                case SendStartWave(wave):
                    self.take(feed(StartWaveRequested(rank, wave)))
                case SendWaveComplete(wave):
                    self.take(feed(WaveCompleted(rank, wave)))
                case Finish():
                    self.finished += 1

    def take(self, effects: list[Effect]) -> None:
        """What the coordinator sends reaches engines and front-ends."""
        for effect in effects:
            if isinstance(effect, BroadcastStartWave):
                for inbox in self.inbox:
                    inbox.append(StartWave(effect.wave, effect.exclude_engine_index))
            elif isinstance(effect, PublishLoad):
                self.load = [waiting + running for waiting, running, _ in effect.counts]
                self.in_flight = [0] * 4
        self.known_wave = self.monitored.driver.core.current_wave

    def pass_time(self) -> None:
        self.take(self.monitored.driver.advance(STEP_S))
        if self.now >= self.next_look:
            self.monitored.look()
            self.next_look = self.now + LOOK_S


@pytest.mark.parametrize(
    ("dialect", "long_requests"), [("0.16", False), ("0.28", True), ("0.31", False), ("0.33", True)]
)
def test_ten_minutes_in_bursts_raise_nothing(dialect: str, long_requests: bool) -> None:
    healthy = Healthy(dialect, seed=52, long_requests=long_requests)
    healthy.run()
    assert healthy.monitored.raised == []
    assert healthy.monitored.driver.core.current_wave > 5
    assert healthy.finished > healthy.requests * 0.9 > 500


def test_the_same_traffic_raises_alarms_once_an_engine_hangs() -> None:
    healthy = Healthy("0.33", seed=52, long_requests=True)
    stepped = healthy.step

    def hang() -> None:
        if healthy.now < 150:
            stepped()

    healthy.step = hang  # type: ignore[method-assign]
    healthy.run(minutes=20)  # so few requests may all be long ones
    assert {kind for _, kind in healthy.monitored.raised} <= {"rank_silent", "asked_not_stepping", "work_held_up"}
    assert healthy.monitored.raised


def test_front_ends_that_come_are_no_alarm() -> None:
    monitored = MonitoredCore(front_ends=0)
    for _ in range(5):
        monitored.driver.feed(front_end_subscribes())
        monitored.wait(30)
    assert monitored.raised == []
