"""llm-d's file discovery: the ranks that can take requests, in a file that its router reads again as it changes.

The format is that of llm-d-router's `file-discovery`: `endpoints` of name, address (IPv4 and nothing else) and port (a
text), in YAML, of which JSON is a part; at most 1 MiB. A rank whose address and port nobody has told is left out.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dp_coordinator.files import replace_file
from dp_coordinator.hosts import split_host
from dp_coordinator.messages_loads import RankLoad
from dp_coordinator.web.routers.weights import Advice

log = logging.getLogger("dp_coordinator.web")

AT_MOST = 1 << 20
"""Bytes that llm-d reads."""
LOOK_S = 0.5
RETRY_S = 5.0


class LlmDEndpoints:
    """Keeps the file as the ranks are."""

    def __init__(self, file: str) -> None:
        self._path = Path(file)
        self._written: str | None = None
        self._failed_at = self._looked_at = -math.inf

    def due(self, now: float) -> bool:
        """Whether it is time to look again."""
        if now - self._looked_at < LOOK_S:
            return False
        self._looked_at = now
        return True

    def update(self, loads: Sequence[RankLoad], advice: Sequence[Advice], now: float) -> None:
        """Write the file anew if other ranks can take requests than it says, or they are elsewhere."""
        text = endpoints(loads, advice)
        if self._written is None and not any(map(_where, loads)):
            return  # just started, and nothing is known: what a former coordinator wrote is better
        if now - self._failed_at < RETRY_S or (text == self._written and self._path.exists()):
            return
        try:
            if len(text) > AT_MOST:
                raise OSError(0, f"the file would have {len(text)} bytes, and llm-d reads {AT_MOST}")
            replace_file(self._path, text)
        except OSError as error:
            self._failed_at = now
            log.error("--llm-d-endpoints: %s cannot be written (%s); trying again", self._path, error.strerror)
        else:
            self._written = text


def endpoints(loads: Sequence[RankLoad], advice: Sequence[Advice]) -> str:
    """The file's text: one line for each rank that can take requests."""
    listed = [
        json.dumps({"name": f"rank-{load.rank}", "address": where[0], "port": where[1], "labels": labels})
        for load, told in zip(loads, advice, strict=True)
        if not told.avoid and (where := _where(load)) is not None
        for labels in [{"dp-coordinator/rank": str(load.rank)}]
    ]
    return '{"endpoints": [\n' + ",\n".join(listed) + "\n]}\n"


def _where(load: RankLoad) -> tuple[str, str] | None:
    """IPv4 address and port, if both are known."""
    split = split_host(load.address) if load.address else None
    if split is None or split[1] is None:
        return None
    name = "127.0.0.1" if split[0] == "localhost" else split[0]
    with suppress(ValueError):
        return str(ipaddress.IPv4Address(name)), str(split[1])
    return None
