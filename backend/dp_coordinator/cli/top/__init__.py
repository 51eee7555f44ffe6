"""`dp-coordinator top`: the page's twin in a terminal, over the same stream."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.util import find_spec

from dp_coordinator.cli import rest_commands
from dp_coordinator.cli.options import RestOptions
from dp_coordinator.cli.rest import Rest, decode
from dp_coordinator.cli.settings import UsageError
from dp_coordinator.messages import State


def top(options: RestOptions) -> int:
    """Show the coordinator live until `q`; where nothing can be drawn, its state once."""
    if find_spec("rich") is None:
        raise UsageError("this needs Rich, which is not installed: pip install 'dp-coordinator[top]'")
    if options.json or not _can_draw():
        return rest_commands.state(options)
    rest = Rest(options.url, options.token)
    decode(
        rest.get(f"{rest_commands.API}/state"), State, rest.url
    )  # a wrong address or token is said before there is a screen
    from dp_coordinator.cli.top.app import App  # noqa: PLC0415  (needs Rich)

    return asyncio.run(App(options.url, options.token).run())


def _can_draw() -> bool:
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return terminal and os.environ.get("TERM", "dumb").lower() not in {"dumb", "unknown", ""}
