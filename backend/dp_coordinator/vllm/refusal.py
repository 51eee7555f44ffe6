"""How the plugin speaks: through vLLM's own log, and a refusal is one sentence there, not a traceback."""

from __future__ import annotations

import logging
from typing import NoReturn

log = logging.getLogger("vllm.dp_coordinator")
"""A child of vLLM's logger, so that its lines look and go like vLLM's."""
EXIT_CODE = 2


def refuse(sentence: str) -> NoReturn:
    """Say what is wrong with a setting and end the process: around an exception vLLM prints a page of traceback."""
    log.error("dp-coordinator: %s.", sentence.rstrip("."))
    raise SystemExit(EXIT_CODE)
