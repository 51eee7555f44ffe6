"""`DP_COORDINATOR_*` under vLLM: the variables of `serve`, without those that vLLM itself decides."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from dp_coordinator.cli.commands import SERVE_SETTINGS
from dp_coordinator.cli.serve import ADDRESSES, options_from
from dp_coordinator.cli.settings import Setting, UsageError, resolve
from dp_coordinator.listening import HttpAddress

DECIDED = {
    "engine_count": "vLLM's --data-parallel-size says how many engines there are",
    "dialect": "the installed vLLM says which version is spoken",
    "no_wave_coordination": "vLLM says whether the model needs waves",
    "journal": "the supervisor keeps one for as long as vLLM's engines live",
    **dict.fromkeys(ADDRESSES, "vLLM chooses the sockets (--data-parallel-address, VLLM_RPC_BASE_PATH)"),
}
"""What vLLM decides, and how."""
SUPERVISED = "supervised"
VARIABLES = {setting.flag: setting.variable for setting in SERVE_SETTINGS}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment asks for."""

    options: dict[str, Any]
    """Fields of `ServeOptions`, and `supervised`."""
    endpoints_file: Path | None


def settings_for(
    engine_count: int,
    dialect: str,
    wave_coordination: bool,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] | None = None,
) -> Settings:
    """Everything that the coordinator's start needs but the addresses. Raises `UsageError` naming the variable.

    `arguments`: vLLM's own command line.
    """
    variables = os.environ if environment is None else environment
    table = tuple(_under_vllm(setting, variables) for setting in SERVE_SETTINGS if setting.name not in DECIDED)
    _check_undecided(variables)
    values = resolve(table, argparse.Namespace(), variables)
    values |= {setting.name: setting.default for setting in SERVE_SETTINGS if setting.name in DECIDED}
    values |= {"engine_count": engine_count, "dialect": dialect, "no_wave_coordination": not wave_coordination}
    values["http"] = _beside_vllm(values["http"], sys.argv if arguments is None else arguments)
    options = options_from(values)
    given = {field.name: getattr(options, field.name) for field in fields(options)}
    kept = {name: value for name, value in given.items() if value is not None or name == "http"}
    for name in ("engine_count", *ADDRESSES):
        del kept[name]
    return Settings(kept | {SUPERVISED: values.get(SUPERVISED, True)}, values["endpoints_file"])


def _beside_vllm(http: str, arguments: Sequence[str]) -> str:
    """Where the page is to listen, never at vLLM's own `--port`, whether or not that is bound already."""
    port = _option("--port", arguments)
    if not port.isdecimal():
        return http
    left = HttpAddress.parse(http).without(int(port))
    if left is None:
        raise UsageError(f"DP_COORDINATOR_HTTP: {http} is vLLM's own --port; give the page another one")
    return str(left)


def _option(flag: str, arguments: Sequence[str]) -> str:
    """The last value that a command line gives to a flag; empty when it gives none."""
    found = ""
    for argument, following in zip(arguments, (*arguments[1:], ""), strict=True):
        if argument == flag:
            found = following
        elif argument.startswith(f"{flag}="):
            found = argument.partition("=")[2]
    return found


def _under_vllm(setting: Setting, variables: Mapping[str, str]) -> Setting:
    """The same setting with the default that it has here: supervised."""
    return replace(setting, default=True) if setting.name == SUPERVISED else setting


def _check_undecided(variables: Mapping[str, str]) -> None:
    for setting in SERVE_SETTINGS:
        if setting.name in DECIDED and variables.get(setting.variable):
            raise UsageError(f"{setting.variable} has no meaning under vLLM: {DECIDED[setting.name]}; unset it")


def in_variables(text: str) -> str:
    """A text for people with every flag of `serve` replaced by its variable: under vLLM there is no command line."""
    return re.sub(r"--[a-z][a-z-]*", lambda match: VARIABLES.get(match[0], match[0]), text)
