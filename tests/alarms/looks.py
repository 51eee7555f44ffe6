"""Snapshots made by hand, and a detector that looks at them at whole seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dp_coordinator.alarms.detector import (
    AlarmDetector,
    Observation,
)
from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.core.snapshot import (
    EngineColumns,
    Snapshot,
)
from dp_coordinator.options import AlarmOptions
from dp_coordinator.words import DeploymentState
from tests.core.driver import Driver

IDLE = Driver(3).core.snapshot(0.0)


def engines(loads: list[tuple[int | None, int | None]], **columns: Any) -> EngineColumns:
    """Ranks with (waiting, running), reported at 100 unless a column says otherwise."""
    size = len(loads)
    nothing: dict[str, Any] = {
        "waiting": tuple(waiting for waiting, _ in loads),
        "running": tuple(running for _, running in loads),
        "kv_cache_usage": (None,) * size,
        "step_counter": (0,) * size,
        "current_wave": (0,) * size,
        "reported_at": (100.0,) * size,
        "restarts": (0,) * size,
    }
    return EngineColumns(**nothing | columns)


def snapshot(*loads: tuple[int | None, int | None], columns: dict[str, Any] | None = None, **changes: Any) -> Snapshot:
    of_engines = engines(list(loads), **columns or {})
    given = {"waiting": 0, "running": 0, "front_ends": 0, "state_since": 100.0} | changes
    return replace(IDLE, engines=of_engines, engine_count=len(loads), engines_subscribed=len(loads), **given)


def running(*loads: tuple[int | None, int | None], columns: dict[str, Any] | None = None, **changes: Any) -> Snapshot:
    return snapshot(*loads, columns=columns, state=DeploymentState.RUNNING, engines_running=True, **changes)


class Looks:
    """A detector that has looked each second since it began, with nothing to see."""

    def __init__(self, first: Snapshot, began: float = 100.0) -> None:
        self.detector = AlarmDetector(AlarmOptions())
        self.now = began
        self.look(first, began)

    def look(self, seen: Snapshot, now: float, **more: Any) -> list[Alarm]:
        self.now = now
        given: dict[str, Any] = {"loop_alive_at": now, "bad_frames": {}, "late_publications": 0} | more
        return self.detector.detect(Observation(seen, **given), now)

    def until(self, seen: Snapshot, now: float, **more: Any) -> list[Alarm]:
        """Look once a second up to `now`."""
        while self.now + 1.0 < now:
            self.look(seen, self.now + 1.0, **more)
        return self.look(seen, now, **more)


def kinds(alarms: list[Alarm]) -> list[str]:
    return [alarm.kind.value for alarm in alarms]
