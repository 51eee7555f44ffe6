"""How loaded each rank is, for routers."""

from __future__ import annotations

import msgspec

from dp_coordinator import words


class RankLoad(msgspec.Struct, frozen=True):
    """One rank as a router wants to know it. What was never told is null, never 0."""

    rank: int
    address: str | None
    """Where it is: HOST:PORT when that is where it takes requests, otherwise its host; null for this machine's ipc."""
    waiting: int | None
    running: int | None
    kv_cache_usage: float | None
    """Share of the key-value cache in use, 0 to 1."""
    age_ms: int | None
    """Milliseconds since these numbers were told. An engine reports to its coordinator only when they change."""
    source: words.SourceKind | None
    """Who told them; null where nobody has."""
    state: words.EngineStatus


class LoadPage(msgspec.Struct, frozen=True):
    """`GET /api/v1/loads`, and each event of `/api/v1/loads/stream`: all ranks in order."""

    loads: list[RankLoad]
