"""SGLang's loads: `GET /v1/loads?include=core`, by dp_rank, with times of the engine's own clock.

Layout: python/sglang/srt/entrypoints/http_server.py, SGLang 0.5.23. There are no waves, and no count of steps.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from dp_coordinator.sources.telling import ENGINES_AT_MOST, Answer, Sample, UnusableError, count, share
from dp_coordinator.words import SourceKind

LOADS = "/v1/loads?include=core"
OLDEST_S = 3600.0


class _Load(msgspec.Struct):
    dp_rank: int
    num_running_reqs: int
    num_waiting_reqs: int
    timestamp: float | str | None = None
    token_usage: float | None = None
    num_used_tokens: int | None = None


class _Loads(msgspec.Struct):
    loads: list[_Load]
    timestamp: float | str | None = None


def loads(body: bytes) -> Answer:
    """What the answer tells of each rank. Raises `UnusableError`."""
    try:
        told = msgspec.json.decode(body, type=_Loads)
    except msgspec.DecodeError as error:
        raise UnusableError(f"what came are no loads: {error}") from None
    ranks = [each.dp_rank for each in told.loads]
    if not ranks or len(set(ranks)) < len(ranks) or not 0 <= min(ranks) <= max(ranks) < ENGINES_AT_MOST:
        raise UnusableError("its loads name no rank, one twice, or one that cannot be")
    sent = _moment(told.timestamp)
    return Answer(SourceKind.SGLANG, tuple(_sample(each, sent) for each in sorted(told.loads, key=lambda e: e.dp_rank)))


def _sample(load: _Load, sent: float | None) -> Sample:
    taken = _moment(load.timestamp)
    return Sample(
        engine=load.dp_rank,
        waiting=count(load.num_waiting_reqs),
        running=count(load.num_running_reqs),
        kv_cache_usage=share(load.token_usage),
        age_s=0.0 if sent is None or taken is None else min(OLDEST_S, max(0.0, sent - taken)),
    )


def _moment(told: float | str | None) -> float | None:
    """Unix seconds; None for what is no time."""
    if not isinstance(told, str):
        return told
    try:
        return datetime.fromisoformat(told).timestamp()
    except ValueError:
        return None
