"""A coordinator as the child process of `DPCoordinator`: settings come on stdin, where it is bound goes to a pipe."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from dp_coordinator.logs import configure_logging
from dp_coordinator.options import ServeOptions
from dp_coordinator.process import Bound, serve
from dp_coordinator.supervisor import EXIT_SETTINGS


def child_main(settings: IO[str], report: IO[str]) -> int:
    """Serve with the options in `settings` (JSON); tell on `report`, in a line of JSON, where, or what was wrong.

    Nobody may listen any more when this is not the first incarnation of a supervised coordinator.
    """
    problem = _LastError()
    logging.getLogger("dp_coordinator").addHandler(problem)

    def tell(message: Mapping[str, object]) -> None:
        with suppress(BrokenPipeError), report:
            report.write(json.dumps(message) + "\n")

    def on_bound(bound: Bound) -> None:
        logging.getLogger("dp_coordinator").removeHandler(problem)
        tell(bound.as_json())

    try:
        told: dict[str, Any] = json.load(settings)
        told |= {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        options = ServeOptions(**told)
        configure_logging(options.log_level)
    except (TypeError, ValueError) as error:
        tell({"error": str(error)})
        return EXIT_SETTINGS
    code = serve(options, on_bound)
    if not report.closed:
        tell({"error": problem.text or f"the coordinator ended with exit code {code}"})
    return code


class _LastError(logging.Handler):
    """Keeps the last error, for whoever started this process."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


if __name__ == "__main__":
    sys.exit(child_main(sys.stdin, os.fdopen(int(sys.argv[1]), "w")))
