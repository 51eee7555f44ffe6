"""What the commands that ask a coordinator, or read recordings, can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from dp_coordinator import values as v
from dp_coordinator.hosts import HttpPorts
from dp_coordinator.options import (
    DEFAULT_HTTP,
    DEFAULT_URL,
    AccessOptions,
    LogLevel,
    SourceOptions,
    Token,
    WebOptions,
)
from dp_coordinator.settings import Flag


@dataclass(frozen=True, kw_only=True)
class RestOptions:
    """How to ask a running coordinator."""

    url: Annotated[str, v.Kind(v.base_url, "URL")] = DEFAULT_URL
    """Where the coordinator's page is."""
    token: Token = field(default=None, repr=False)
    json: v.Switch = False
    """Print what REST answers, for programs."""


@dataclass(frozen=True, kw_only=True)
class EventsOptions(RestOptions):
    """Which events to print."""

    follow: v.Switch = False
    """Go on with what comes; with --json one event a line."""
    since: Annotated[int | None, v.Kind(v.index, "SEQ")] = None
    """Events numbered above this; default the newest 100."""
    kind: Annotated[tuple[str, ...], v.Kind(v.text, "KIND")] = ()
    """Only events of this kind; again for more."""
    limit: v.Count | None = None
    """At most this many at a time."""


@dataclass(frozen=True, kw_only=True)
class StartWaveOptions(RestOptions):
    """Which wave to start."""

    reason: v.Text
    """Why, for the event log."""
    expected_wave: v.Index | None = None
    """Refuse unless this is the current wave."""
    wave: v.Index | None = None
    """The wave to start; default the current one."""
    wait: Annotated[v.Switch, Flag(), Flag("--no-wait", "only ask", means=False)] = True
    """Wait until a step was confirmed or the time is up (so it is anyway)."""


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """Recordings to be read."""

    file: Annotated[tuple[str, ...], v.Kind(v.recording), Flag("FILE")]
    """Recordings in their order, or a folder of them."""
    any_version: v.Switch = False
    """Take recordings of other versions of dp-coordinator too."""


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(RecordingOptions):
    """How to tell what a replay found."""

    json: v.Switch = False
    """Print the outcome for programs."""


@dataclass(frozen=True, kw_only=True)
class ViewOptions(AccessOptions, RecordingOptions):
    """The page on a recording."""

    speed: Annotated[float, v.Kind(v.speed, "X")] = 1.0
    """How much faster than it was, 0.1 to 64."""
    http: HttpPorts = "127.0.0.1:8081-8099"
    """Where the page and REST listen; HOST:FIRST-LAST takes the first port that is free, port 0 any."""
    log_level: LogLevel = "info"
    """Debug, info, warning or error."""


@dataclass(frozen=True, kw_only=True)
class WatchOptions(WebOptions, SourceOptions):
    """The page on what others run."""

    http: HttpPorts = DEFAULT_HTTP
    """Where the page and REST listen; HOST:FIRST-LAST takes the first port that is free, port 0 any."""
    log_level: LogLevel = "info"
    """Debug, info, warning or error."""
