"""What one answer tells, and why one tells nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dp_coordinator.words import RankCondition, SourceKind

ENGINES_AT_MOST = 16_384


@dataclass(frozen=True, slots=True)
class Sample:
    """What an answer says of one engine."""

    engine: int
    waiting: int | None = None
    running: int | None = None
    kv_cache_usage: float | None = None
    beat: float | None = None
    """A number that grows with every step that makes tokens."""
    unit: str = ""
    age_s: float = 0.0
    """How old it was when it was sent, where the engine says."""
    conditions: Mapping[RankCondition, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer."""

    kind: SourceKind
    samples: tuple[Sample, ...]
    """In the order of engines; none twice."""


class SilentError(Exception):
    """Nothing came; the text says what did not."""


class UnusableError(Exception):
    """Something came that tells nothing of any engine; the text says what it is."""


class ScalingError(UnusableError):
    """It answers that it is being scaled: it is there, and serves nothing for now."""


def count(value: object) -> int | None:
    """A number of requests; None for what is none."""
    number = share(value, 2.0**31)
    return None if number is None else int(number)


def share(value: object, most: float = 1.0) -> float | None:
    """A number from 0 to `most`; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        return None
    return float(value)


def tally(value: object) -> float | None:
    """A number that may grow; None for what is none, or too large to be seen to grow."""
    return share(value, 2.0**53)
