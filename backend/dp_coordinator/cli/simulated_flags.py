"""The flags of `demo`, `engine` and `front-end`: the fields of the simulation's options classes."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any

from dp_coordinator.cli import values as v
from dp_coordinator.cli.commands import LOG_LEVEL
from dp_coordinator.cli.settings import Setting
from dp_coordinator.simulation.flags import descriptions
from dp_coordinator.simulation.options import DemoOptions, EngineOptions, FrontEndOptions

NOT_FOR_PEOPLE = frozenset({"parent_pid"})
KINDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "back_output_address": (v.zmq_address, "ADDRESS"),
    "back_publish_address": (v.zmq_address, "ADDRESS"),
    "collective": (v.host_port, "HOST:PORT"),
    "dialect": (v.version, "VERSION"),
    "engine_address": (v.zmq_address, "ADDRESS"),
    "engine_count": (v.count, "N"),
    "engines": (v.count, "N"),
    "front_end_count": (v.count, "N"),
    "front_publish_address": (v.zmq_address, "ADDRESS"),
    "http": (v.http_address, "HOST:PORT"),
    "kv_cache_tokens": (v.count, "N"),
    "max_num_seqs": (v.count, "N"),
    "max_steps": (v.count, "N"),
    "min_steps": (v.count, "N"),
    "request_address": (v.zmq_address, "ADDRESS"),
}
"""Fields of which the name says more than the type does."""
BY_TYPE: dict[type, tuple[Callable[[str], Any], str]] = {
    bool: (v.boolean, ""),
    int: (v.index, "N"),
    float: (v.amount, "X"),
    str: (v.text, "TEXT"),
}


def engine_settings() -> tuple[Setting, ...]:
    """The flags of `engine`."""
    return (*settings_of(EngineOptions), LOG_LEVEL)


def front_end_settings() -> tuple[Setting, ...]:
    """The flags of `front-end`."""
    return (*settings_of(FrontEndOptions), LOG_LEVEL)


def demo_settings() -> tuple[Setting, ...]:
    """The flags of `demo`."""
    return (*settings_of(DemoOptions), LOG_LEVEL)


def settings_of(options: type[Any]) -> tuple[Setting, ...]:
    """One flag for each field that is meant for people."""
    hints, helps = typing.get_type_hints(options), descriptions(options)
    return tuple(
        _setting(field, hints[field.name], helps[field.name])
        for field in fields(options)
        if field.name not in NOT_FOR_PEOPLE
    )


def _setting(field: Field[Any], hint: Any, text: str) -> Setting:
    many = typing.get_origin(hint) is tuple
    if many or isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]
    kind, metavar = KINDS.get(field.name) or BY_TYPE[hint]
    required = field.default is MISSING
    shown = "" if required or field.default is None or hint is bool else f"; default {field.default}"
    return Setting(
        f"--{field.name.replace('_', '-')}",
        text.rstrip(".") + shown,
        kind,
        None if required else field.default,
        metavar,
        many=many,
        required=required,
    )
