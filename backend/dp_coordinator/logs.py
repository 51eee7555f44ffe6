"""How this process logs."""

from __future__ import annotations

import logging
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
