"""Reads the command line, finds the command, and turns every failure into a sentence and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from dp_coordinator import __version__
from dp_coordinator.cli.commands import COMMANDS, Command
from dp_coordinator.cli.settings import Parser, UsageError, Values, add, fail, resolve

INTERRUPTED = 130
PIPE_CLOSED = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `dp-coordinator` with these arguments (the process's own if None) and return its exit code."""
    given = _parser().parse_args(arguments)
    command: Command = given.command
    try:
        values = resolve(command.settings, given)
        code = _function(command)(values)
        sys.stdout.flush()
    except UsageError as error:
        fail(f"{error}.", given.parser.prog)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would complain once more
        return PIPE_CLOSED
    return code


def _function(command: Command) -> Callable[[Values], int]:
    module, name = command.run.split(":")
    return cast(Callable[[Values], int], getattr(import_module(f"dp_coordinator.cli.{module}"), name))


def _parser() -> Parser:
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
        add(sub, command.settings)
        sub.set_defaults(command=command, parser=sub)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"dp-coordinator {__version__}")
        raise SystemExit(0)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."
