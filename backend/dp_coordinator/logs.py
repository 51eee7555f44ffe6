"""How this process logs, and that there is something for it to write to."""

from __future__ import annotations

import logging
import os
import sys
from types import TracebackType
from typing import TypeAlias

from dp_coordinator.texts import A_LINE, shown

_Raised: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]"


class OneLine(logging.Formatter):
    """A message is one line, whatever a stranger had put into it; and no line steers a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line."""
        return shown(super().formatMessage(record), A_LINE)

    def formatException(self, ei: _Raised) -> str:
        """The traceback, whose text may quote what came in."""
        return "\n".join(shown(line, A_LINE) for line in super().formatException(ei).split("\n"))


def configure_logging(level: str) -> None:
    """One line per message on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def open_missing_streams() -> None:
    """Give this process a stdin, stdout and stderr when its parent closed one of them (`>&-`); they lead nowhere.

    To be called first: the next socket or file would get the free number, and what is printed would go there.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  (for good)
