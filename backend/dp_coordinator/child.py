"""A coordinator as the child process of `DPCoordinator`: settings come on stdin, where it is bound goes to a pipe.

Unsupervised, it is also given the folder to take away at its end: whoever started it may be killed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

from dp_coordinator.endings import leave
from dp_coordinator.logs import configure_logging, open_missing_streams
from dp_coordinator.options import ServeOptions
from dp_coordinator.process import serve
from dp_coordinator.supervised import EXIT_SETTINGS


def child_main(settings: IO[str], report: IO[str]) -> int:
    """Serve with the options in `settings` (JSON); tell on `report`, in a line of JSON, where, or what was wrong.

    Nobody may listen any more when this is not the first incarnation of a supervised coordinator.
    """

    def tell(message: Mapping[str, object]) -> None:
        if not report.closed:
            with suppress(BrokenPipeError), report:
                report.write(json.dumps(message) + "\n")

    def on_error(sentence: str) -> None:
        tell({"error": sentence})

    try:
        told: dict[str, Any] = json.load(settings)
        told |= {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        options = ServeOptions(**told)
        configure_logging(options.log_level)
    except (TypeError, ValueError) as error:
        on_error(str(error))
        return EXIT_SETTINGS
    return serve(options, lambda bound: tell(asdict(bound)), on_error)


def _main(report: str, scratch: str | None = None) -> int:
    open_missing_streams()
    try:
        return leave(child_main(sys.stdin, os.fdopen(int(report), "w")))
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
