"""SGLang's loads: `GET /v1/loads?include=core`, by dp_rank, with times of the engine's own clock.

Layout: python/sglang/srt/entrypoints/http_server.py, SGLang 0.5.23. There are no waves, and no count of steps. But with
`--enable-metrics` each step adds its tokens to a counter (managers/scheduler_components/metrics_reporter.py,
`report_prefill_stats` and `report_decode_stats`), a series for each dp_rank, tp_rank and kind of token.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

import msgspec

from dp_coordinator.sources.prometheus_text import UsefulLines, rank_in
from dp_coordinator.sources.telling import ENGINES_AT_MOST, Answer, Sample, UnusableError, count, share, tally
from dp_coordinator.words import SourceKind

LOADS = "/v1/loads?include=core"
METRICS = "/metrics"
OF_USE = re.compile(rb"\nsglang:realtime_tokens_total[{ ][^\n]*")
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


def with_tokens(answer: Answer, lines: UsefulLines) -> Answer:
    """The loads with the tokens that each rank has made or taken in. Raises `UnusableError`."""
    tokens: dict[int, float] = {}
    for _, labels, value in lines.read():
        rank = rank_in(labels, "dp_rank")
        tokens[rank] = tokens.get(rank, 0.0) + value

    def of(sample: Sample) -> Sample:
        beat = tally(tokens.get(sample.engine))
        return sample if beat is None else replace(sample, beat=beat, unit="tokens")

    return replace(answer, samples=tuple(map(of, answer.samples)))


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
