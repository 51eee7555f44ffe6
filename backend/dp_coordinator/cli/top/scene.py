"""All that the screen depends on, as values: what was heard, the connection, and what the person at it has chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

from dp_coordinator.cli.top.live import Link, Live
from dp_coordinator.cli.top.start import Asked, Prompt
from dp_coordinator.messages import PeerPage


@dataclass(frozen=True, slots=True)
class Held:
    """The display as it was paused."""

    live: Live
    at: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the keys have set."""

    offset: int = 0
    """Engine rows scrolled past."""
    sort: str = "rank"
    filter: str = ""
    """Which engines are shown: ranks, and the beginning of a status."""
    filtering: bool = False
    """It is being typed."""
    rank: int | None = None
    """The one that is looked at closely."""
    log_offset: int = 0
    """Log lines scrolled back."""
    help: bool = False
    held: Held | None = None
    prompt: Prompt | None = None
    asked: Asked | None = None
    notice: str | None = None
    """A sentence that stands until the next key."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment."""

    live: Live = field(default_factory=Live)
    link: Link = field(default_factory=Link)
    choices: Choices = field(default_factory=Choices)
    url: str = ""
    plain: bool = False
    """Only ASCII can be shown."""
    places: PeerPage | None = None
    """Where each rank is, as was heard last."""

    @property
    def shown(self) -> Live:
        """What the body shows: the newest, or what was held."""
        held = self.choices.held
        return self.live if held is None else held.live

    def elapsed(self, now: float) -> float:
        """Seconds since the state that is shown arrived, at the moment that is shown."""
        held = self.choices.held
        return max(0.0, (now if held is None else held.at) - self.shown.snapshot_at)

    @property
    def connected(self) -> bool:
        """Whether what is shown was heard over a connection that stands."""
        return self.link.state == "open"
