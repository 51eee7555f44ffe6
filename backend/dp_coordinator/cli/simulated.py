"""`dp-coordinator demo`, `engine` and `front-end`."""

from __future__ import annotations

from dp_coordinator.settings import SettingsError
from dp_coordinator.simulation.demo import run_demo as demo
from dp_coordinator.simulation.engine import run_engine
from dp_coordinator.simulation.front_end import run_front_end as front_end
from dp_coordinator.simulation.options import EngineOptions

__all__ = ["demo", "engine", "front_end"]


def engine(options: EngineOptions) -> int:
    """Run one simulated engine until it is told to end."""
    if options.index >= options.engine_count:
        raise SettingsError(f"--index must be 0 to {options.engine_count - 1}, not {options.index}")
    return run_engine(options)
