"""`python -m dp_coordinator.simulation engine|front-end ...`: how the demo starts its processes."""

from __future__ import annotations

import logging
import sys

from dp_coordinator.simulation.engine import run_engine
from dp_coordinator.simulation.flags import parse
from dp_coordinator.simulation.front_end import run_front_end
from dp_coordinator.simulation.options import EngineOptions, FrontEndOptions


def main(arguments: list[str]) -> int:
    """Run one simulated process and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    match arguments:
        case ["engine", *rest]:
            return run_engine(parse(EngineOptions, rest, "dp_coordinator.simulation engine"))
        case ["front-end", *rest]:
            return run_front_end(parse(FrontEndOptions, rest, "dp_coordinator.simulation front-end"))
    print("expected engine or front-end, and its flags", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
