"""A coordinator as the child process of `DPCoordinator`: settings come on stdin, where it is bound goes to a pipe.

Unsupervised, it is also given the folder to take away at its end: whoever started it may be killed.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from typing import IO, Any

from dp_coordinator.process import Bound, ServeOptions, SettingsError, configure_logging, serve
from dp_coordinator.supervisor import EXIT_SETTINGS


def options_from(values: Mapping[str, Any]) -> ServeOptions:
    """Options from JSON values, as `DPCoordinator` sends them. Unknown names raise `SettingsError`."""
    known = {f.name for f in fields(ServeOptions)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"unknown option {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return ServeOptions(**{**values, **lists})


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
        options = options_from(json.load(settings))
        configure_logging(options.log_level)
    except (SettingsError, TypeError, ValueError) as error:
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


def _main(report: str, scratch: str | None = None) -> int:
    try:
        return child_main(sys.stdin, os.fdopen(int(report), "w"))
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
