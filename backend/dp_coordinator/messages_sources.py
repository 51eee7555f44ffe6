"""What sources tell, as REST tells it. Times named `*_at` are Unix seconds, ages seconds; what nobody told is null."""

from __future__ import annotations

import msgspec

from dp_coordinator import words


class Provenance(msgspec.Struct, frozen=True):
    """Who told each rank's numbers, in short; a rank that nobody told of is in none."""

    most: words.SourceKind | None
    others: dict[words.SourceKind, list[int]]
    """The ranks whose numbers somebody else told."""
    nobody: list[int]
    """The ranks of which nothing was told."""


class EngineSource(msgspec.Struct, frozen=True):
    """What the sources say of a rank, beside what it reported: each number with its age."""

    source: words.SourceKind
    """Who told the newest of these numbers."""
    target: str
    """Where it was told: its URL, or a tap's address."""
    address: str
    """URL that serves this rank; empty where only a tap told of it."""
    waiting: int | None
    """Requests that wait, deferred ones among them, which a report leaves out."""
    waiting_age_s: float | None
    running: int | None
    running_age_s: float | None
    kv_cache_usage: float | None
    kv_cache_usage_age_s: float | None
    heartbeat: float | None
    """A number that grows with every step that makes tokens."""
    heartbeat_unit: str
    """What it counts: `steps` or `tokens`."""
    heartbeat_age_s: float | None
    """Seconds since it was told."""
    grew_age_s: float | None
    """Seconds since it was last seen to grow; null when it never was."""
    conditions: dict[words.RankCondition, str]
    """What is out of the ordinary with the rank, and what was said of it."""


class Target(msgspec.Struct, frozen=True):
    """One place that is asked, or listened to."""

    name: str
    kind: words.SourceKind | None
    """What answers there; null while nobody knows."""
    state: words.TargetState
    problem: str | None
    """Why it tells nothing now."""
    since_at: float | None
    """Since when it has a problem."""
    answered_at: float | None
    """When it last answered as it should; null: never."""
    ranks: list[int]


class SourcePage(msgspec.Struct, frozen=True):
    """`GET /api/v1/sources`: the targets in their order, and how each answers."""

    targets: list[Target]
    independent: bool
    """The targets are instances of their own: ranks follow the order of targets."""
