"""Every command. Nothing is imported but what the chosen one needs, when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `run` and `options` name the module, and the function and options class in it."""

    name: str
    summary: str
    run: str
    options: str
    epilog: str | None = None


def named(path: str) -> Any:
    """What a path such as `cli.serve:serve` names."""
    module, name = path.split(":")
    return getattr(import_module(f"dp_coordinator.{module}"), name)


_CODES = "Exit codes: 0 done, 1 the coordinator said no, 2 wrong usage or no coordinator there."

COMMANDS = (
    Command(
        "serve",
        "run a coordinator",
        "cli.serve:serve",
        "options:CommandOptions",
        "Exit codes: 0 told to end by a signal, 1 the web server ended by itself, 2 a setting is wrong or an address "
        "is taken, 3 engines are missing, 4 it died again and again before it ever served (--supervised).",
    ),
    Command(
        "demo",
        "coordinator, simulated engines and front-ends on this machine, with the page",
        "simulation.demo:run_demo",
        "simulation.options:DemoOptions",
    ),
    Command(
        "watch",
        "the page on engines that others run: nothing is replaced, nothing can be started",
        "cli.watch:watch",
        "cli.options:WatchOptions",
        "Exit codes: 0 ended by a signal, 2 a wrong setting, or an address that is taken.",
    ),
    Command("state", "wave, state, load and engines now", "cli.rest_commands:state", "cli.options:RestOptions", _CODES),
    Command("engines", "the engine table", "cli.rest_commands:engines", "cli.options:RestOptions", _CODES),
    Command("waves", "the newest waves", "cli.rest_commands:waves", "cli.options:RestOptions", _CODES),
    Command("events", "the event log", "cli.rest_commands:events", "cli.options:EventsOptions", _CODES),
    Command(
        "top",
        "the page in a terminal, live; the state once where nothing can be drawn",
        "cli.top:top",
        "cli.options:RestOptions",
        _CODES,
    ),
    Command(
        "start-wave",
        "start a wave by hand and tell what was observed",
        "cli.rest_commands:start_wave",
        "cli.options:StartWaveOptions",
        "Exit codes: 0 observed (asked, with --no-wait), 1 refused or timed out, 2 wrong usage or no coordinator.",
    ),
    Command(
        "replay",
        "run the core over a recording again and compare what comes out",
        "cli.recordings:replay",
        "cli.options:ReplayOptions",
        "Exit codes: 0 no difference (perhaps only up to where a file was cut off), 1 a difference, 2 a file that "
        "cannot be used or is damaged.",
    ),
    Command(
        "view",
        "the page and REST on a recording instead of a running coordinator",
        "cli.recordings:view",
        "cli.options:ViewOptions",
        "Exit codes: 0 ended by a signal, 2 a file that cannot be used, a wrong setting, or an address that is taken.",
    ),
    Command("engine", "one simulated engine", "simulation.engine:run_engine", "simulation.options:EngineOptions"),
    Command(
        "front-end",
        "one simulated front-end",
        "simulation.front_end:run_front_end",
        "simulation.options:FrontEndOptions",
    ),
)
