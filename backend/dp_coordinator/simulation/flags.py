"""Command-line flags from an options class, and back.

The rules stand in `simulation.options`: the field's name with dashes, true-or-false fields without a value, tuples
repeated. Help texts are the docstrings under the fields.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

Options = TypeVar("Options")


def flag(name: str) -> str:
    """`step_ms` -> `--step-ms`."""
    return "--" + name.replace("_", "-")


def descriptions(options: type[Any]) -> dict[str, str]:
    """Read the docstring under each field of a class, as one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(options))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                found[name] = " ".join(doc.split())
    return found


def add_flags(parser: argparse.ArgumentParser, options: type[Any]) -> None:
    """Give a parser one flag per field of an options class."""
    hints, helps = typing.get_type_hints(options), descriptions(options)
    for field in fields(options):
        parser.add_argument(flag(field.name), dest=field.name, **_argument(field, hints[field.name], helps))


def _argument(field: Field[Any], hint: Any, helps: dict[str, str]) -> dict[str, Any]:
    text = helps.get(field.name, "").replace("%", "%%")
    required = field.default is MISSING
    if hint is bool:
        return {"action": "store_true", "help": text}
    if typing.get_origin(hint) is tuple:
        return {"action": "append", "required": required, "help": text}
    if typing.get_origin(hint) is types.UnionType:
        hint = next(arm for arm in typing.get_args(hint) if arm is not types.NoneType)
    if not required and field.default is not None:
        text += f" (default: {field.default})"
    return {"type": hint, "required": required, "default": None if required else field.default, "help": text}


def from_namespace(options: type[Options], namespace: argparse.Namespace) -> Options:
    """Make options of what a parser with `add_flags` has read."""
    values = {field.name: getattr(namespace, field.name) for field in fields(typing.cast("Any", options))}
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def parse(options: type[Options], arguments: Sequence[str], prog: str) -> Options:
    """Read options from command-line arguments; exits with a usage message when they are wrong."""
    parser = argparse.ArgumentParser(prog=prog, description=options.__doc__)
    add_flags(parser, options)
    return from_namespace(options, parser.parse_args(arguments))


def to_arguments(options: Any) -> list[str]:
    """Turn options into the command-line arguments that mean the same."""
    arguments: list[str] = []
    for field in fields(options):
        value = getattr(options, field.name)
        if value is None or value is False:
            continue
        if value is True:
            arguments.append(flag(field.name))
        else:
            values = value if isinstance(value, tuple) else (value,)
            arguments += [f"{flag(field.name)}={one}" for one in values]
    return arguments
