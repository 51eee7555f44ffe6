"""What is known of one connection."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dp_coordinator.core.events import Peer
from dp_coordinator.transport.allowance import Allowance
from dp_coordinator.transport.descriptor import Cookie


@dataclass(slots=True)
class Connection:
    """Kept by its descriptor, while it is there."""

    peer: Peer
    told: bool = False
    """The core was told of it."""
    engine: int | None = None
    """The engine that it last reported as."""
    named_at: float = -math.inf
    """When the core was told so."""
    unanswered: bool = False
    """At the last look, the other machine had left something unanswered."""
    looked: tuple[int, int, float] | None = None
    """Messages that were taken, bytes that had come when that was first seen, and when that was."""
    cookie: Cookie = b""
    since: float = 0.0
    """When it began (monotonic)."""
    allowance: Allowance | None = None
    """Made with its first message."""
    taken: int = 0
    """Its messages that were received with `copy=False`."""
    number: int = 0
    """What its frames carry; 0 before the first."""
    cut_off: str | None = None
    """Why it was ended by us."""
