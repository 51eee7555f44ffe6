"""A core driven through time, and a detector that looks at it four times a second."""

from __future__ import annotations

from typing import Any

from dp_coordinator.alarms.detector import LATE_BY, AlarmDetector, Observation
from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.core.events import StartWaveRequested, WaveCompleted
from dp_coordinator.mailbox import Counters
from dp_coordinator.observer import count
from dp_coordinator.options import AlarmOptions
from tests.core.connections import front_end_subscribes
from tests.core.driver import Driver

LOOK_S = 0.25


class MonitoredCore:
    """`raised` and `cleared` keep (time, kind), `alarms` what stands after the last look."""

    def __init__(self, engines: int = 4, dialect: str = "0.33", front_ends: int = 1, **options: Any) -> None:
        self.driver = Driver(engines, dialect, **options)
        self.detector = AlarmDetector(AlarmOptions())
        self.bad: dict[tuple[str, str], int] = {}
        self.late = 0
        self._counters = Counters()
        self.loop_turns = True
        self.entries: list[tuple[str, float]] = []
        self.alarms: dict[str, Alarm] = {}
        self.raised: list[tuple[float, str]] = []
        self.cleared: list[tuple[float, str]] = []
        self._loop_alive_at = 0.0
        for _ in range(front_ends):
            self.driver.feed(front_end_subscribes())
        self.look()

    @property
    def now(self) -> float:
        return self.driver.now

    def look(self) -> dict[str, Alarm]:
        if self.loop_turns:
            self._loop_alive_at = self.now
        count(self._counters, None, [effect for _, effect in self.driver.effects])
        late = self.late + self._counters.publication_lateness_seconds.above(LATE_BY)
        self.driver.effects.clear()
        snapshot = self.driver.core.snapshot(self.now)
        observation = Observation(snapshot, self._loop_alive_at, dict(self.bad), late, self.entries)
        self.entries = []
        found = {alarm.kind.value: alarm for alarm in self.detector.detect(observation, self.now)}
        self.raised += [(self.now, kind) for kind in found if kind not in self.alarms]
        self.cleared += [(self.now, kind) for kind in self.alarms if kind not in found]
        self.alarms = found
        return found

    def wait(self, seconds: float) -> dict[str, Alarm]:
        """Let time pass, with looks on the way."""
        until = self.now + seconds
        while self.now + LOOK_S < until:
            self.driver.advance(LOOK_S)
            self.look()
        self.driver.advance_to(until)
        return self.look()

    def kinds(self) -> set[str]:
        return set(self.alarms)


def running_wave(monitored: MonitoredCore, load: int = 16) -> None:
    """Every rank has `load` requests and the wave was seen to step."""
    monitored.driver.feed(StartWaveRequested(0, monitored.driver.core.current_wave))
    report_all(monitored, load, step=1)


def report_all(monitored: MonitoredCore, load: int, *, step: int, ranks: range | None = None) -> None:
    core = monitored.driver.core
    for rank in ranks if ranks is not None else range(core.engine_count):
        monitored.driver.report(rank, 0, load, wave=core.current_wave, step=step)


def end_wave(monitored: MonitoredCore) -> None:
    wave = monitored.driver.core.current_wave
    report_all(monitored, 0, step=64)
    monitored.driver.feed(WaveCompleted(0, wave))


def loads_for(monitored: MonitoredCore, loads: tuple[int, ...], seconds: float) -> None:
    """These counts, reported twice a second with a little noise."""
    for half in range(int(seconds * 2)):
        for rank, load in enumerate(loads):
            monitored.driver.report(rank, 0, load + half % 2, wave=monitored.driver.core.current_wave, step=1 + half)
        monitored.wait(0.5)
