"""Reads the command line, finds the command, and turns every failure into a sentence and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from dp_coordinator import __version__
from dp_coordinator.cli.commands import COMMANDS, Command
from dp_coordinator.cli.settings import REFUSED, Parser, RefusedError, UsageError, add, fail
from dp_coordinator.logs import configure_logging
from dp_coordinator.settings import SettingsError, read

INTERRUPTED = 130
PIPE_CLOSED = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `dp-coordinator` with these arguments (the process's own if None) and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    given = _parser(_chosen(words)).parse_args(words)
    command: Command = given.command
    try:
        options = read(command.options, vars(given), os.environ)
        if (level := getattr(options, "log_level", None)) is not None:
            configure_logging(level)
        code: int = _named(command.run)(options)
        sys.stdout.flush()
    except (SettingsError, UsageError) as error:
        fail(f"{error}.", given.parser.prog)
    except RefusedError as refusal:
        if options.json:
            print(refusal.body.decode())
        fail(f"refused: {refusal}.", given.parser.prog, REFUSED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would complain once more
        return PIPE_CLOSED
    return code


def _chosen(words: Sequence[str]) -> str | None:
    """The command that is named, if any is; ends the process when that name is no command's."""
    names = [command.name for command in COMMANDS]
    if not words:
        fail(f"say which command: {', '.join(names)} (see dp-coordinator --help).")
    chosen = words[0]
    if chosen.startswith("-"):
        return None
    if chosen not in names:
        near = get_close_matches(chosen, names, n=1)
        proposed = f"{near[0]} is near it" if near else f"there are {', '.join(names)}"
        fail(f"there is no command {chosen!r}; {proposed} (see dp-coordinator --help).")
    return chosen


def _named(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(f"dp_coordinator.cli.{module}"), name)


def _parser(chosen: str | None) -> Parser:
    """A parser that knows all commands, and of the chosen one its flags too."""
    parser = Parser(
        prog="dp-coordinator",
        description="The DP coordinator for vLLM and other data-parallel engines, with a live dashboard.",
        epilog="Every flag can be set by the variable shown in brackets; a flag goes before its variable.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name, help=command.summary, description=_sentence(command.summary), epilog=command.epilog
        )
        if command.name == chosen:
            add(sub, command.options)
            sub.set_defaults(command=command, parser=sub)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"dp-coordinator {__version__}")
        raise SystemExit(0)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."
