"""How this process logs."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: str) -> None:
    """One line per message on stderr."""
    text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level.upper(), format=text, stream=sys.stderr)
