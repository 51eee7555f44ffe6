"""`dp-coordinator demo`, `engine` and `front-end`."""

from __future__ import annotations

import logging
from typing import TypeVar

from dp_coordinator.cli.commands import LOG_LEVEL
from dp_coordinator.cli.settings import UsageError, Values
from dp_coordinator.simulation.demo import run_demo
from dp_coordinator.simulation.engine import run_engine
from dp_coordinator.simulation.front_end import run_front_end
from dp_coordinator.simulation.options import DemoOptions, EngineOptions, FrontEndOptions

Options = TypeVar("Options")


def demo(values: Values) -> int:
    """Run the whole deployment until it is told to end."""
    return run_demo(_options(DemoOptions, values))


def engine(values: Values) -> int:
    """Run one simulated engine until it is told to end."""
    if values["index"] >= values["engine_count"]:
        raise UsageError(f"--index must be 0 to {values['engine_count'] - 1}, not {values['index']}")
    return run_engine(_options(EngineOptions, values))


def front_end(values: Values) -> int:
    """Run one simulated front-end until it is told to end or has had enough."""
    return run_front_end(_options(FrontEndOptions, values))


def _options(kind: type[Options], values: Values) -> Options:
    """The values of the flags as the simulation's own options."""
    logging.basicConfig(level=values["log_level"].upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return kind(**{name: value for name, value in values.items() if name != LOG_LEVEL.name})
