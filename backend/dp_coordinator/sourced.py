"""The read model of sources: what engines' own metrics, or somebody's coordinator, told of each rank. Frozen.

Here are only the types, and the questions that may be asked of them; `dp_coordinator.sources` makes them, on the web
side, and hands over a whole `SourcesView` through `Mailbox.sources`. Viewers do not ask the mailbox for that: they ask
for `Mailbox.seen()`, the core's snapshot with the sources beside it (`beside`). In it

- `snapshot.sources` is the view, None where no source was asked for;
- `snapshot.engines` has what the engines reported and, of ranks that never reported, what the sources told;
- `snapshot.provenance[rank]` says by whom those numbers were told, and where.

Nothing of this reaches the core, nor what is published to front-ends. Times are the mailbox's monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, TypeVar

from dp_coordinator.words import RankCondition, SourceKind, TargetState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Origin:
    """Who told something."""

    kind: SourceKind
    target: str = ""
    """Where it was asked: `http://10.0.0.7:8000`, or a tap's ZeroMQ address; empty for an engine's own reports."""


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """One thing that was told of a rank: what, when and by whom."""

    value: T
    at: float
    """When it was so: by the engine's own clock where it gives a time, else when the answer came."""
    origin: Origin


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A number that grows with every step that makes tokens, and what was seen of it.

    It certainly grew between `grew_after` and `grew_at`. All times are those of answers: between two answers nobody
    can say when.
    """

    value: float
    unit: str
    """What is counted, for people: `steps` or `tokens`."""
    at: float
    """When it was last told."""
    grew_at: float
    """When it was last seen to be greater than before; when it was first told, until then."""
    grew_after: float | None
    """The answer before that one; None while it was never seen to grow."""
    moved_at: float
    """When anything that only a step changes was last seen to change: this number, or the running requests, the cache
    or fewer that wait, which change in steps that make no tokens, too, as those that take in a long prompt."""
    origin: Origin

    @property
    def stood_s(self) -> float:
        """For how many seconds nothing of it was seen to change."""
        return self.at - self.moved_at


@dataclass(frozen=True, slots=True)
class RankView:
    """All that the sources know of one rank. An API server's numbers go before those of a tap."""

    rank: int
    address: str
    """`http://HOST:PORT` that serves it; empty where only a tap told of it."""
    waiting: Told[int] | None = None
    """Requests that wait, deferred ones among them: the coordinator's count, which vLLM publishes, leaves those out."""
    running: Told[int] | None = None
    kv_cache_usage: Told[float] | None = None
    """0 to 1."""
    heartbeat: Heartbeat | None = None
    conditions: Mapping[RankCondition, Told[str]] = field(default_factory=dict)
    """What is out of the ordinary with it now, each with what was said of it."""
    silent: bool = False
    """None of the targets that told of it answers now: what they told is old, and no part of any sum."""

    @property
    def newest(self) -> Told[int] | None:
        """The number of requests running, or waiting, that was told last: its age is the rank's."""
        told = [each for each in (self.running, self.waiting) if each is not None]
        return max(told, key=lambda each: each.at, default=None)


@dataclass(frozen=True, slots=True)
class TargetView:
    """One place that is asked, and how it answers."""

    name: str
    """`http://10.0.0.7:8000`, a tap's address, a DNS name that gives no address, or a file that cannot be read."""
    kind: SourceKind | None
    """What answers there; None while that is not known."""
    state: TargetState
    problem: str | None = None
    """Why it tells nothing now, in words; None while it does."""
    since: float | None = None
    """Since when it has a problem."""
    answered_at: float | None = None
    """When it last answered as it should; None: never."""
    ranks: tuple[int, ...] = ()
    """Ranks that it told of last; one that never did has the place in the order of targets that is left for it."""


@dataclass(frozen=True, slots=True)
class TappedView:
    """What somebody's coordinator publishes to its front-ends."""

    current_wave: int
    engines_running: bool
    at: float
    """When it was last heard."""


@dataclass(frozen=True, slots=True)
class SourcesView:
    """All that the sources know, at one moment."""

    ranks: Mapping[int, RankView] = field(default_factory=lambda: MappingProxyType({}))
    targets: tuple[TargetView, ...] = ()
    """In the order in which they were given."""
    independent: bool = False
    """The targets are instances of their own, each with an engine 0: ranks follow the order of targets."""
    version: int = 0
    """Counts up whenever a target answers otherwise than before, or tells of other ranks; numbers do not count."""
    tapped: TappedView | None = None
    """None unless somebody's coordinator is listened to, and was heard."""
