"""Settings on the command line: argparse, with errors that are one sentence."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any, NoReturn

from dp_coordinator.settings import Flag, Setting, settings_of
from dp_coordinator.texts import A_LINE, shown

REFUSED = 1
USAGE_ERROR = 2


class UsageError(Exception):
    """What was asked cannot be done as it stands; the message is one sentence for a person. Exit code 2."""


class RefusedError(Exception):
    """The coordinator answered no. `body` is its problem document; the message is one sentence. Exit code 1."""

    def __init__(self, message: str, body: bytes) -> None:
        super().__init__(message)
        self.body = body


class Parser(argparse.ArgumentParser):
    """argparse whose complaint is one sentence, and which never takes half a flag for a whole one."""

    def __init__(self, **arguments: Any) -> None:
        formatter = partial(argparse.HelpFormatter, max_help_position=26, width=110)
        super().__init__(**{"formatter_class": formatter, "allow_abbrev": False, **arguments})

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with exit code 2."""
        fail(f"{message.rstrip('.')} (see {self.prog} --help).", self.prog)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, proposing the flag that was probably meant for one that is not known."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            parser: Parser = getattr(found, "parser", self)
            parser.error(_unknown(unknown[0], parser))
        return found


def fail(message: str, prog: str = "dp-coordinator", code: int = USAGE_ERROR) -> NoReturn:
    """Print one sentence to stderr and end the process."""
    print(shown(f"{prog}: {message}", A_LINE), file=sys.stderr)
    raise SystemExit(code)


def add(parser: Parser, options: type[Any]) -> None:
    """Declare the flags of an options class. What is not on the command line stays out of the namespace."""
    for setting in settings_of(options):
        for flag in setting.flags:
            if flag.on_command_line:
                _add(parser, setting, flag)


def _add(parser: Parser, setting: Setting, flag: Flag) -> None:
    default = f"; default {setting.shown_default}" if setting.shown_default and not flag.is_switch else ""
    text = (flag.help + default).replace("%", "%%")
    if flag.is_positional:
        parser.add_argument(flag.name, nargs="+" if setting.many else None, metavar=flag.flag, help=text)
        return
    text = f"{text} [{flag.variable}]" if flag.for_people else argparse.SUPPRESS
    if flag.is_switch:
        parser.add_argument(flag.flag, action="store_true", default=argparse.SUPPRESS, help=text)
    else:
        action = "append" if setting.many else "store"
        metavar = flag.kind.metavar or flag.name.upper()
        parser.add_argument(flag.flag, action=action, default=argparse.SUPPRESS, metavar=metavar, help=text)


def _unknown(argument: str, parser: argparse.ArgumentParser) -> str:
    flag = argument.split("=", 1)[0]
    if not flag.startswith("-"):
        return f"{argument!r} is one argument too many"
    near = nearest(flag, [option for option in parser._option_string_actions if option.startswith("--")])
    return f"there is no {flag}; {near} is near it" if near else f"there is no {flag}"


def nearest(word: str, known: list[str]) -> str | None:
    """What was probably meant by a word that is not known."""
    from difflib import get_close_matches  # noqa: PLC0415  (not needed unless a mistake was made)

    return next(iter(get_close_matches(word, known, n=1)), None)
