"""vLLM's API server: its metrics as Prometheus text, and the routes that say more where they are there.

Names: vllm/v1/metrics/loggers.py, `PrometheusStatLogger`, vLLM 0.10.2 to 0.33. Every series has the labels `engine`,
which is the rank unless the server is an instance of its own, and `model_name`. Of a thousand lines a dozen are of use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from dp_coordinator.sources.prometheus_text import UsefulLines, rank_in
from dp_coordinator.sources.telling import Answer, Sample, UnusableError, count, share, tally
from dp_coordinator.words import RankCondition, SourceKind

METRICS, HEALTH, PAUSED, SCALING, FAULTS = (
    "/metrics",
    "/health",
    "/is_paused",
    "/is_scaling_elastic_ep",
    "/fault_tolerance/status",
)
STEPS, TOKENS = "vllm:iteration_tokens_total_count", "vllm:generation_tokens_total"
_NAMES = (
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",  # its name before 0.10
    STEPS,
    TOKENS,
    "vllm:engine_sleep_state",
)
_ENDINGS = b"|".join(name.removeprefix("vllm:").encode() for name in _NAMES)
OF_USE = re.compile(rb"\nvllm:(?:" + _ENDINGS + rb")[{ ][^\n]*")
"""One search for all of them: to look at each line by itself takes four times as long."""


@dataclass(slots=True)
class _Found:
    values: dict[str, float] = field(default_factory=dict)
    asleep: dict[str, bool] = field(default_factory=dict)


def metrics(lines: UsefulLines) -> Answer:
    """What the page tells of each engine. Raises `UnusableError`."""
    found: dict[int, _Found] = {}
    for name, labels, value in lines.read():
        _take(found.setdefault(rank_in(labels, "engine"), _Found()), name, labels, value)
    samples = (_sample(engine, each) for engine, each in sorted(found.items()))
    told = tuple(each for each in samples if each.running is not None or each.waiting is not None)
    if not told:
        raise UnusableError(_what_it_is(lines.began))
    return Answer(SourceKind.VLLM, told)


def _take(found: _Found, name: str, labels: Mapping[str, str], value: float) -> None:
    if name == "vllm:engine_sleep_state":
        found.asleep[labels.get("sleep_state", "")] = value > 0
    elif name in (STEPS, TOKENS):  # a series for each model, and each API server before they were merged
        found.values[name] = found.values.get(name, 0.0) + value
    else:
        found.values[name] = value


def _sample(engine: int, found: _Found) -> Sample:
    values = found.values
    unit = STEPS if STEPS in values else TOKENS
    usage = values.get("vllm:kv_cache_usage_perc", values.get("vllm:gpu_cache_usage_perc"))
    deep = [name.replace("_", " ") for name, on in found.asleep.items() if on and name != "awake"]
    return Sample(
        engine=engine,
        waiting=count(values.get("vllm:num_requests_waiting")),
        running=count(values.get("vllm:num_requests_running")),
        kv_cache_usage=share(usage),
        beat=tally(values.get(unit)),
        unit="steps" if unit == STEPS else "tokens",
        conditions={RankCondition.SLEEPING: ", ".join(deep)} if deep else {},
    )


def _what_it_is(began: bytes) -> str:
    start = began.lstrip()[:40].decode("utf-8", "replace")
    if start.startswith("<"):
        return f"HTML came where metrics should be: {start!r}"
    if not start:
        return "an empty page came where metrics should be"
    return "the metrics are of no engine: there is no vllm:num_requests_running among them"


# -- what else it may say ----------------------------------------------------------------------------------------------


class _Paused(msgspec.Struct):
    is_paused: bool


class _Scaling(msgspec.Struct):
    is_scaling_elastic_ep: bool
    phase: str | None = None


class _Engine(msgspec.Struct):
    id: int
    status: str
    fault_info: object = None


class _Faults(msgspec.Struct):
    engines: list[_Engine]


def paused(body: bytes) -> dict[RankCondition, str]:
    """`GET /is_paused`. Raises `msgspec.DecodeError`."""
    return {RankCondition.PAUSED: "by hand"} if msgspec.json.decode(body, type=_Paused).is_paused else {}


def scaling(body: bytes) -> dict[RankCondition, str]:
    """`POST /is_scaling_elastic_ep`. Raises `msgspec.DecodeError`."""
    told = msgspec.json.decode(body, type=_Scaling)
    return {RankCondition.SCALING: (told.phase or "")[:100]} if told.is_scaling_elastic_ep else {}


def faults(body: bytes) -> dict[int, dict[RankCondition, str]]:
    """`GET /fault_tolerance/status`: engine -> what is wrong with it. Raises `msgspec.DecodeError`."""
    named = {
        "dead": RankCondition.DEAD,
        "unhealthy": RankCondition.UNHEALTHY,
        "paused": RankCondition.PAUSED,
    }
    return {
        each.id: {named[each.status.lower()]: str(each.fault_info or "vLLM says so")[:200]}
        for each in msgspec.json.decode(body, type=_Faults).engines
        if each.status.lower() in named
    }


def with_conditions(answer: Answer, told: Iterable[tuple[int | None, Mapping[RankCondition, str]]]) -> Answer:
    """The answer with what else was told: of one engine, or with None of all."""
    pairs = list(told)
    if not pairs:
        return answer

    def of(sample: Sample) -> Sample:
        more: dict[RankCondition, str] = dict(sample.conditions)
        for engine, conditions in pairs:
            if engine is None or engine == sample.engine:
                more |= conditions
        return replace(sample, conditions=more)

    return replace(answer, samples=tuple(of(sample) for sample in answer.samples))
