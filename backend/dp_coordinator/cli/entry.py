"""Reads the command line, finds the command, and turns every failure into a sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from dp_coordinator import __version__
from dp_coordinator.cli.commands import COMMANDS, Command, named
from dp_coordinator.cli.settings import REFUSED, Parser, RefusedError, UsageError, add, fail, nearest
from dp_coordinator.logs import open_missing_streams
from dp_coordinator.settings import SettingsError, read

PIPE_CLOSED = 141
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""A full disk, or a terminal that is gone: nothing else that a command does lets these through."""


def run(arguments: Sequence[str] | None) -> int:
    """Run `dp-coordinator` with these arguments (the process's own if None) and return its exit code."""
    open_missing_streams()
    words = sys.argv[1:] if arguments is None else list(arguments)
    given = _parser(_chosen(words)).parse_args(words)
    command: Command = given.command
    try:
        options = read(named(command.options), vars(given), os.environ)
        if hasattr(options, "log_level"):
            named("logs:configure_logging")(options.log_level)
        code: int = named(command.run)(options)
        sys.stdout.flush()
    except (SettingsError, UsageError) as error:
        fail(f"{error}.", given.parser.prog)
    except RefusedError as refusal:
        if options.json:
            print(refusal.body.decode())
        fail(f"refused: {refusal}.", given.parser.prog, REFUSED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would complain once more
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (for good: or the exit would try again)
        fail(f"what it prints cannot be written: {error.strerror}.", given.parser.prog)
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
        near = nearest(chosen, names)
        proposed = f"{near} is near it" if near else f"there are {', '.join(names)}"
        fail(f"there is no command {chosen!r}; {proposed} (see dp-coordinator --help).")
    return chosen


def _parser(chosen: str | None) -> Parser:
    """A parser that knows all commands, and of the chosen one its flags too."""
    parser = Parser(
        prog="dp-coordinator",
        description="The DP coordinator for vLLM and other data-parallel engines, with a live dashboard.",
        epilog="Every flag can be set by the variable shown in brackets; a flag goes before its variable.",
    )
    parser.add_argument(
        "--version", action="version", version=f"dp-coordinator {__version__}", help="print the version"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name, help=command.summary, description=_sentence(command.summary), epilog=command.epilog
        )
        if command.name == chosen:
            add(sub, named(command.options))
            sub.set_defaults(command=command, parser=sub)
    return parser


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."
