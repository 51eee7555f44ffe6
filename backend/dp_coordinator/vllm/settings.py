"""`DP_COORDINATOR_*` under vLLM: the variables of `serve`, without those that vLLM itself decides."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dp_coordinator.hosts import HttpAddress, scrape_url, url
from dp_coordinator.options import CommandOptions, asks
from dp_coordinator.settings import SettingsError, read, settings_of
from dp_coordinator.values import BadValueError
from dp_coordinator.vllm.refusal import log

_SOCKETS = "vLLM chooses the sockets (--data-parallel-address, VLLM_RPC_BASE_PATH)"
DECIDED = {
    "engine_count": "vLLM's --data-parallel-size says how many engines there are",
    "dialect": "the installed vLLM says which version is spoken",
    "wave_coordination": "vLLM says whether the model needs waves",
    "journal": "the supervisor keeps one for as long as vLLM's engines live",
    "front_publish_address": _SOCKETS,
    "back_output_address": _SOCKETS,
    "back_publish_address": _SOCKETS,
}
"""What vLLM decides, and how, by the field's name."""


def options_for(
    engine_count: int,
    dialect: str,
    wave_coordination: bool,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] | None = None,
) -> CommandOptions:
    """What the environment asks for, and vLLM decided. Raises `SettingsError` naming the variable.

    `arguments`: vLLM's own command line.
    """
    variables = os.environ if environment is None else environment
    for setting in settings_of(CommandOptions):
        for flag in setting.flags:
            if setting.name in DECIDED and variables.get(flag.variable):
                raise SettingsError(f"{flag.variable} has no meaning under vLLM: {DECIDED[setting.name]}; unset it")
    decided = {"engine_count": engine_count, "dialect": dialect, "wave_coordination": wave_coordination}
    options = read(CommandOptions, {}, variables, {"supervised": True, **decided})
    words = sys.argv if arguments is None else arguments
    port = _option("--port", words)
    if options.http is None or not port.isdecimal():
        return options
    found = options.scrape if asks(options) else _own_servers(int(port), words)
    return replace(options, http=_without(options.http, int(port)), scrape=found)


def _own_servers(port: int, arguments: Sequence[str]) -> tuple[str, ...]:
    """The API servers that vLLM's own command line tells of, where engines report no counts.

    These are the one of this rank behind external load balancing, or those of all ranks here where each has a port
    (vllm/entrypoints/launchers/dp_supervisor.py, `_build_vllm_dp_server_args`). Those elsewhere it does not tell.
    """
    flags = {argument.partition("=")[0] for argument in arguments}
    if flags & {"--uds", "--headless", "--ssl-certfile", "--ssl-keyfile", "--disable-log-stats"}:
        return ()
    last = port
    if "--data-parallel-multi-port-external-lb" in flags:
        here = _option("--data-parallel-size-local", arguments)
        last = port + int(here) - 1 if here.isdecimal() and here != "0" else port
    elif not flags & {"--data-parallel-rank", "-dpn", "--data-parallel-external-lb", "-dpe"}:
        return ()
    host = _option("--host", arguments)
    host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
    found = url("http", host, port) + ("" if last == port else f"-{last}")
    return () if _refused(found) else (found,)


def _refused(found: str) -> bool:
    try:
        scrape_url(found)
    except BadValueError:
        return True
    return False


def _without(http: str, port: int) -> str:
    """Where the page is to listen, never at vLLM's own `--port`, whether or not that is bound already."""
    left = HttpAddress.parse(http).without(port)
    if left is None:
        raise SettingsError(f"DP_COORDINATOR_HTTP: {http} is vLLM's own --port; give the page another one")
    if str(left) != http:
        log.warning("Port %d is vLLM's own: dp-coordinator's page takes one of %s.", port, left)
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


def in_variables(text: str) -> str:
    """A text for people with every flag of `serve` replaced by its variable: under vLLM there is no command line."""
    variables = {flag.flag: flag.variable for setting in settings_of(CommandOptions) for flag in setting.flags}
    return re.sub(r"--[a-z][a-z-]*", lambda match: variables.get(match[0], match[0]), text)
