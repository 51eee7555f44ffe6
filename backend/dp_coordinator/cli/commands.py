"""Every command with its settings. Importing this imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from dp_coordinator import values as v
from dp_coordinator.options import DEFAULT_URL, AccessOptions, CommandOptions, LogLevel, Token
from dp_coordinator.settings import Flag
from dp_coordinator.simulation.options import DemoOptions, EngineOptions, FrontEndOptions


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `run` names the module of this package and the function that carry it out."""

    name: str
    summary: str
    run: str
    options: type[Any]
    epilog: str | None = None


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
    """Wait until every rank was seen stepping or the time is up (so it is anyway)."""


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
    http: v.HttpPorts = "127.0.0.1:8081-8099"
    """Where the page and REST listen; HOST:FIRST-LAST takes the first port that is free, port 0 any."""
    log_level: LogLevel = "info"
    """Debug, info, warning or error."""


_CODES = "Exit codes: 0 done, 1 the coordinator said no, 2 wrong usage or no coordinator there."

COMMANDS = (
    Command(
        "serve",
        "run a coordinator",
        "serve:serve",
        CommandOptions,
        "Exit codes: 0 ended by a signal, 2 a setting is wrong or an address is taken, 3 engines are missing, "
        "4 it died again and again (--supervised).",
    ),
    Command(
        "demo",
        "coordinator, simulated engines and front-ends on this machine, with the page",
        "simulated:demo",
        DemoOptions,
    ),
    Command("state", "wave, phase, load and engines now", "rest_commands:state", RestOptions, _CODES),
    Command("engines", "the engine table", "rest_commands:engines", RestOptions, _CODES),
    Command("waves", "the newest waves", "rest_commands:waves", RestOptions, _CODES),
    Command("events", "the event log", "rest_commands:events", EventsOptions, _CODES),
    Command(
        "top",
        "the page in a terminal, live; the state once where nothing can be drawn",
        "top:top",
        RestOptions,
        _CODES,
    ),
    Command(
        "start-wave",
        "start a wave by hand and tell what was observed",
        "rest_commands:start_wave",
        StartWaveOptions,
        "Exit codes: 0 observed (asked, with --no-wait), 1 refused or timed out, 2 wrong usage or no coordinator.",
    ),
    Command(
        "replay",
        "run the core over a recording again and compare what comes out",
        "recordings:replay",
        ReplayOptions,
        "Exit codes: 0 no difference (perhaps only up to where a file was cut off), 1 a difference, 2 a file that "
        "cannot be used or is damaged.",
    ),
    Command(
        "view",
        "the page and REST on a recording instead of a running coordinator",
        "recordings:view",
        ViewOptions,
        "Exit codes: 0 ended by a signal, 2 a file that cannot be used, a wrong setting, or an address that is taken.",
    ),
    Command("engine", "one simulated engine", "simulated:engine", EngineOptions),
    Command("front-end", "one simulated front-end", "simulated:front_end", FrontEndOptions),
)
