"""`python -m dp_coordinator.simulation engine|front-end OPTIONS`: how the demo starts its processes.

OPTIONS are an options class as JSON, from `children.as_json`. People say `dp-coordinator engine` and give flags.
"""

from __future__ import annotations

import logging
import sys

import msgspec

from dp_coordinator.simulation.engine import run_engine
from dp_coordinator.simulation.front_end import run_front_end
from dp_coordinator.simulation.options import EngineOptions, FrontEndOptions


def main(arguments: list[str]) -> int:
    """Run one simulated process and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    match arguments:
        case ["engine", options]:
            return run_engine(msgspec.json.decode(options, type=EngineOptions))
        case ["front-end", options]:
            return run_front_end(msgspec.json.decode(options, type=FrontEndOptions))
    print("expected engine or front-end, and its options", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
