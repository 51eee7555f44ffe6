"""What became of the coordinator's process, and whether this is one at all. Times named `*_at` are Unix seconds."""

from __future__ import annotations

import msgspec

from dp_coordinator import words


class Playback(msgspec.Struct, frozen=True):
    """A recording that is shown instead of a running coordinator."""

    name: str
    at: float
    """The moment that is shown."""
    position_s: float
    """Seconds from the recording's first moment to the one shown."""
    duration_s: float
    speed: float
    paused: bool


class Recovery(msgspec.Struct, frozen=True):
    """How far a coordinator that came back from a crash has got."""

    phase: words.RecoveryPhase
    """rejoining: engines subscribe again; settling: START went out, one wave_complete is awaited; done."""
    resumed_wave: int
    """The wave it came back with."""
    resumed_at: float
    engines_back: int
    """Engines subscribed now."""
    engines_expected: int
    finished_at: float | None
    text: str
    """The same in a sentence."""
