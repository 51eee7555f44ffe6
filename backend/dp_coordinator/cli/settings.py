"""One mechanism for every flag: the command line, else a `DP_COORDINATOR_*` variable, else the default.

A command's flags are a table of `Setting`. The variable of `--engine-count` is DP_COORDINATOR_ENGINE_COUNT.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn, TypeAlias

from dp_coordinator.cli.values import BadValueError, boolean, names

PREFIX = "DP_COORDINATOR_"
REFUSED = 1
USAGE_ERROR = 2

Values: TypeAlias = dict[str, Any]
"""A command's settings by name."""


class UsageError(Exception):
    """What was asked cannot be done as it stands; the message is one sentence for a person. Exit code 2."""


class RefusedError(Exception):
    """The coordinator answered no. `body` is its problem document; the message is one sentence. Exit code 1."""

    def __init__(self, message: str, body: bytes) -> None:
        super().__init__(message)
        self.body = body


@dataclass(frozen=True, slots=True)
class Setting:
    """One flag of a command and the variable that stands for it."""

    flag: str
    """Without dashes it is what the command is about, and comes after the flags."""
    help: str
    kind: Callable[[str], Any] = str
    """Makes the value of the text, or raises `BadValueError`."""
    default: Any = None
    metavar: str | None = None
    many: bool = False
    """May be given again and again; the variable takes several, separated by commas."""
    required: bool = False
    excludes: str | None = None
    """The flag that says the opposite. One on the command line goes before the other's variable."""
    on_command_line: bool = True
    """False for what only a variable may hold."""

    @property
    def name(self) -> str:
        """The key under which the value is found: `engine_count`."""
        return self.flag.removeprefix("--").replace("-", "_").lower()

    @property
    def variable(self) -> str:
        """The environment variable: `DP_COORDINATOR_ENGINE_COUNT`."""
        return PREFIX + self.name.upper()

    @property
    def is_positional(self) -> bool:
        """Stands on the command line without a name."""
        return not self.flag.startswith("--")

    @property
    def is_switch(self) -> bool:
        """Takes no value on the command line."""
        return self.kind is boolean

    def read(self, text: str, source: str) -> Any:
        """The value of a text that was found in `source`. Raises `UsageError` naming the source."""
        try:
            return self.kind(text)
        except BadValueError as error:
            raise UsageError(f"{source}: {error}") from None

    def read_variable(self, text: str) -> Any:
        """The value of the variable's text."""
        if not self.many:
            return self.read(text, self.variable)
        try:
            parts = names(text)
        except BadValueError as error:
            raise UsageError(f"{self.variable}: {error}") from None
        return tuple(self.read(part, self.variable) for part in parts)


class Parser(argparse.ArgumentParser):
    """argparse whose complaint is one sentence, and which never takes half a flag for a whole one."""

    def __init__(self, **arguments: Any) -> None:
        arguments.setdefault("formatter_class", _Formatter)
        super().__init__(allow_abbrev=False, **arguments)

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


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=110)


def fail(message: str, prog: str = "dp-coordinator", code: int = USAGE_ERROR) -> NoReturn:
    """Print one sentence to stderr and end the process."""
    print(f"{prog}: {message}", file=sys.stderr)
    raise SystemExit(code)


def add(parser: Parser, settings: Iterable[Setting]) -> None:
    """Declare the flags. Values that are not on the command line stay out of the namespace."""
    for setting in settings:
        if not setting.on_command_line:
            continue
        text = f"{setting.help} [{setting.variable}]"
        if setting.is_positional:
            nargs = "+" if setting.many else None
            parser.add_argument(setting.name, nargs=nargs, metavar=setting.metavar, help=setting.help)
        elif setting.is_switch:
            parser.add_argument(setting.flag, action="store_true", default=argparse.SUPPRESS, help=text)
        else:
            parser.add_argument(
                setting.flag,
                action="append" if setting.many else "store",
                default=argparse.SUPPRESS,
                metavar=setting.metavar or setting.name.upper(),
                help=text,
            )


def resolve(
    settings: Sequence[Setting], given: argparse.Namespace, environment: Mapping[str, str] | None = None
) -> Values:
    """The value of every setting. Raises `UsageError` for a bad or missing one, naming flag or variable."""
    variables = dict(os.environ if environment is None else environment)
    by_flag = {setting.flag: setting for setting in settings}
    for setting in settings:
        if setting.excludes is not None:
            _keep_one(setting, by_flag[setting.excludes], given, variables)
    return {setting.name: _value(setting, given, variables) for setting in settings}


def _keep_one(one: Setting, other: Setting, given: argparse.Namespace, variables: dict[str, str]) -> None:
    if hasattr(given, one.name) and hasattr(given, other.name):
        raise UsageError(f"{one.flag} and {other.flag} exclude each other: give one of them")
    if hasattr(given, one.name):
        variables.pop(other.variable, None)
    elif hasattr(given, other.name):
        variables.pop(one.variable, None)
    elif all(_is_on(setting, variables) for setting in (one, other)):
        raise UsageError(f"{one.variable} and {other.variable} exclude each other: set one of them")


def _is_on(setting: Setting, variables: Mapping[str, str]) -> bool:
    held = variables.get(setting.variable)
    return bool(held and (setting.read_variable(held) if setting.is_switch else True))


def _value(setting: Setting, given: argparse.Namespace, variables: Mapping[str, str]) -> Any:
    if hasattr(given, setting.name):
        on_line = getattr(given, setting.name)
        if setting.is_switch:
            return on_line
        if setting.many:
            return tuple(setting.read(part, setting.flag) for part in on_line)
        return setting.read(on_line, setting.flag)
    if variables.get(setting.variable):  # an empty one counts as not set
        return setting.read_variable(variables[setting.variable])
    if setting.required:
        raise UsageError(f"{setting.flag} is needed (or {setting.variable}): {setting.help}")
    return setting.default


def _unknown(argument: str, parser: argparse.ArgumentParser) -> str:
    flag = argument.split("=", 1)[0]
    if not flag.startswith("-"):
        return f"{argument!r} is one argument too many"
    near = get_close_matches(flag, [option for option in parser._option_string_actions if option.startswith("--")], n=1)
    return f"there is no {flag}; {near[0]} is near it" if near else f"there is no {flag}"
