"""One mechanism for every setting: a field of an options class, set by a flag, by a variable, or by its default.

A field `engine_count` is set by `--engine-count` and `DP_COORDINATOR_ENGINE_COUNT`. Its type, one of those in `values`,
says how a text becomes its value; its docstring is the help. A `Flag` in its annotation is for what is set otherwise.
What is on the command line goes before any variable; an empty variable counts as not set.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, replace
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from dp_coordinator.values import BadValueError, Kind, boolean, names

PREFIX = "DP_COORDINATOR_"
AS_THE_FIELD = Kind(str)

Options = TypeVar("Options")
Found: TypeAlias = list[tuple[str, Any]]
"""Flags or variables that set a field, and what to."""


class SettingsError(ValueError):
    """What was set cannot be used; the text names it and says what would be right."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One way to set a field: a flag, and the variable that stands for it."""

    flag: str = ""
    """If it is not made of the field's name. Without dashes it is what the command is about, and has no name there."""
    help: str = ""
    """If it is not the field's docstring."""
    kind: Kind = AS_THE_FIELD
    """How its text is read."""
    means: Any = True
    """What a flag without a value sets the field to."""
    on_command_line: bool = True
    """False for what only a variable may hold: everyone on the machine sees a command line."""
    for_people: bool = True
    """False for what one of our processes tells another: not shown, and without a variable."""

    @property
    def name(self) -> str:
        """The flag as a name: `engine_count`."""
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
        return self.kind.read is boolean


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of an options class."""

    name: str
    default: Any
    """`MISSING` for one that must be set."""
    kind: Kind
    many: bool
    """May be given again and again; the variable takes several, separated by commas."""
    flags: tuple[Flag, ...]

    @property
    def is_required(self) -> bool:
        """Has no default."""
        return self.default is MISSING

    @property
    def shown_default(self) -> str:
        """The default as people are told it; empty where there is nothing to tell."""
        if self.is_required or self.default is None or self.default == () or isinstance(self.default, bool):
            return ""
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def settings_of(options: type[Any]) -> tuple[Setting, ...]:
    """What can be set of an options class, in the order of its fields."""
    hints = get_type_hints(options, include_extras=True)
    helps: dict[str, str] = {}
    for base in reversed(options.__mro__[:-1]):
        helps |= _docstrings(base.__module__).get(base.__name__, {})
    return tuple(_setting(field, hints[field.name], helps.get(field.name, "")) for field in fields(options))


@cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Of each class in a module the docstrings under its fields, as phrases: Python itself does not keep them."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except OSError:  # installed without sources: all works, but there is no help
        return {}
    return {node.name: dict(_docstrings_in(node.body)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docstrings_in(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                phrase = " ".join(doc.split()).rstrip(".")
                yield name, phrase if phrase[1].isupper() else phrase[0].lower() + phrase[1:]


def _setting(field: Field[Any], hint: Any, text: str) -> Setting:
    kind, many, flags = Kind(str), False, []
    while not isinstance(hint, type):
        if get_origin(hint) is Annotated:
            hint, *notes = get_args(hint)
            flags += [note for note in notes if isinstance(note, Flag)]
            kind = next((note for note in notes if isinstance(note, Kind)), kind)
        else:  # `T | None` or `tuple[T, ...]`
            many = many or get_origin(hint) is tuple
            hint = get_args(hint)[0]
    complete = tuple(_complete(flag, field.name, kind, text) for flag in flags or [Flag()])
    return Setting(field.name, field.default, kind, many, complete)


def _complete(flag: Flag, field: str, kind: Kind, text: str) -> Flag:
    """The flag with what follows from its field."""
    if flag.kind is not AS_THE_FIELD or flag.means is not True:
        kind = flag.kind if flag.means is True else Kind(boolean)
    return replace(flag, flag=flag.flag or f"--{field.replace('_', '-')}", help=flag.help or text, kind=kind)


def read(
    options: type[Options],
    given: Mapping[str, Any],
    variables: Mapping[str, str],
    defaults: Mapping[str, Any] | None = None,
) -> Options:
    """The options that a command line and an environment ask for.

    `given` holds, by the names of the flags, what is on the command line: a text, a list of them, or True. `defaults`
    go before those of the class. Raises `SettingsError` for a bad or missing value, naming flag or variable.
    """
    values = dict(defaults or {})
    for setting in settings_of(options):
        found = _on_the_line(setting, given) or _in_variables(setting, variables)
        if found:
            values[setting.name] = _agreed(setting, found)
        elif setting.is_required and setting.name not in values:
            flag = setting.flags[0]
            raise SettingsError(f"{flag.flag} is needed (or {flag.variable}): {flag.help}")
    return options(**values)


def _on_the_line(setting: Setting, given: Mapping[str, Any]) -> Found:
    return [
        (flag.flag, flag.means if flag.is_switch else _read(flag, given[flag.name], flag.flag))
        for flag in setting.flags
        if flag.name in given
    ]


def _in_variables(setting: Setting, variables: Mapping[str, str]) -> Found:
    found: Found = []
    for flag in setting.flags:
        text = variables.get(flag.variable) if flag.for_people else None
        if not text:
            continue
        told = _value(Kind(names), text, flag.variable) if setting.many else text
        value = _read(flag, told, flag.variable)
        if not flag.is_switch:
            found.append((flag.variable, value))
        elif value or setting.kind.read is boolean:
            found.append((flag.variable, flag.means if value else not flag.means))
    return found


def _read(flag: Flag, told: str | Sequence[str], source: str) -> Any:
    if isinstance(told, str):
        return _value(flag.kind, told, source)
    return tuple(_value(flag.kind, text, source) for text in told)


def _value(kind: Kind, text: str, source: str) -> Any:
    try:
        value = kind.read(text)
        kind.check(value)
    except BadValueError as error:
        raise SettingsError(f"{source}: {error}") from None
    except OSError as error:  # a path at which nothing can even be looked for
        raise SettingsError(f"{source}: {text[:80]!r} cannot be a file here: {error.strerror}") from None
    return value


def _agreed(setting: Setting, found: Found) -> Any:
    """The first of what was found; it goes before the others, unless one is a switch that says the opposite."""
    (first, value), *others = found
    for other, opposite in others:
        if opposite != value and any(flag.is_switch for flag in setting.flags):
            verb = "give" if first.startswith("--") else "set"
            raise SettingsError(f"{first} and {other} exclude each other: {verb} one of them")
    return value


def checked(options: Options) -> Options:
    """Options that did not come from texts, if they can be used; else raises `SettingsError` naming the first."""
    for setting in settings_of(type(options)):
        value = getattr(options, setting.name)
        if value is not None:
            try:
                for one in value if setting.many else (value,):
                    setting.kind.check(one)
            except BadValueError as error:
                raise SettingsError(f"{setting.flags[0].flag}: {error}") from None
    return options


def to_arguments(options: Any) -> list[str]:
    """The command line that means the same; None and False are taken for defaults."""
    arguments: list[str] = []
    for setting in settings_of(type(options)):
        value, flag = getattr(options, setting.name), setting.flags[0].flag
        if value is True:
            arguments.append(flag)
        elif value is not None and value is not False:
            arguments += [f"{flag}={one}" for one in (value if setting.many else (value,))]
    return arguments


def shared(options: Any, kind: type[Any]) -> dict[str, Any]:
    """Those fields of `options` that `kind` has too."""
    return {field.name: getattr(options, field.name) for field in fields(kind) if hasattr(options, field.name)}
