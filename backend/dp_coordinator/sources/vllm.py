"""vLLM's API server: its metrics as Prometheus text, and the routes that say more where they are there.

Names: vllm/v1/metrics/loggers.py, `PrometheusStatLogger`, vLLM 0.10.2 to 0.33. Every series has the labels `engine`,
which is the rank unless the server is an instance of its own, and `model_name`. A page has a thousand lines and more,
of which a dozen are of use: these are taken out as they come, so that neither a parser nor memory sees the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeAlias

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from dp_coordinator.sources.telling import ENGINES_AT_MOST, Answer, Sample, UnusableError, count, share
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
_OF_USE = re.compile(rb"\nvllm:(?:" + _ENDINGS + rb")[{ ][^\n]*")
"""One search for all of them: to look at each line by itself takes four times as long."""
KEPT_AT_MOST = 4 * 1024 * 1024
"""Bytes of lines of use: those of some four thousand engines."""
_NUMBER = re.compile(r" +[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.ASCII)
_REMEMBERED_AT_MOST = 512
"""Characters of a line that is parsed once for all answers that have it; others are parsed each time."""
_Line: TypeAlias = tuple[str, Mapping[str, str], float]
"""Name, labels, value."""


class UsefulLines:
    """Takes a page bit by bit, and keeps the lines that are of use."""

    def __init__(self) -> None:
        self._rest = b"\n"
        self._kept: list[bytes] = []
        self._size = 0
        self.began = b""
        """How the page begins, to say what it is when it is none."""

    def feed(self, chunk: bytes) -> None:
        """Take what comes next. Raises `UnusableError` for what is too much."""
        if len(self.began) < 64:
            self.began += chunk[:64]
        text = self._rest + chunk
        end = text.rfind(b"\n")
        self._rest = text[end:]
        if len(self._rest) > 65_536:
            raise UnusableError("a line of more than 64 KiB came: that is no Prometheus text")
        for line in _OF_USE.findall(text, 0, end):
            self._kept.append(line)
            self._size += len(line)
        if self._size > KEPT_AT_MOST:
            raise UnusableError("it tells of more engines than there can be")

    def text(self) -> str:
        """The lines of use. A last line without an end was cut off, and is left out."""
        return b"".join(self._kept).decode("utf-8", "replace") + "\n"


@dataclass(slots=True)
class _Found:
    values: dict[str, float] = field(default_factory=dict)
    asleep: dict[str, bool] = field(default_factory=dict)


def metrics(lines: UsefulLines) -> Answer:
    """What the page tells of each engine. Raises `UnusableError`."""
    found: dict[int, _Found] = {}
    try:
        for line in filter(None, lines.text().split("\n")):
            name, labels, value = _read(line)
            _take(found.setdefault(_engine(labels), _Found()), name, labels, value)
    except (ValueError, IndexError, KeyError) as error:
        raise UnusableError(f"what came is no Prometheus text: {str(error)[:100] or type(error).__name__}") from None
    samples = (_sample(engine, each) for engine, each in sorted(found.items()))
    told = tuple(each for each in samples if each.running is not None or each.waiting is not None)
    if not told:
        raise UnusableError(_what_it_is(lines.began))
    return Answer(SourceKind.VLLM, told)


def _read(line: str) -> _Line:
    """One line. Raises `ValueError`."""
    series, brace, value = line.rpartition("}")
    if brace and len(series) <= _REMEMBERED_AT_MOST and _NUMBER.fullmatch(value):
        name, labels, _ = _series(series + brace)
        return name, labels, float(value)
    return _parsed(line)


@lru_cache(maxsize=8192)
def _series(text: str) -> _Line:
    """A line without its value: labels take most of the time, and are the same in every answer."""
    return _parsed(f"{text} 0")


def _parsed(line: str) -> _Line:
    (family,) = text_string_to_metric_families(line)
    (sample,) = family.samples
    return sample.name, sample.labels, sample.value


def _engine(labels: Mapping[str, str]) -> int:
    label = labels.get("engine", "0")  # one that says none has one engine
    if not label.isascii() or not label.isdecimal() or int(label[:6]) >= ENGINES_AT_MOST or len(label) > 5:
        raise UnusableError(f"it tells of an engine {label[:20]!r}: that is no rank")
    return int(label)


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
        beat=share(values.get(unit), float("inf")),
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
