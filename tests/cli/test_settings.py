"""Every flag of every command can be given on the command line or in its variable, and means the same."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from dp_coordinator.cli import simulated_flags
from dp_coordinator.cli.commands import REST_COMMANDS, SERVE_SETTINGS
from dp_coordinator.cli.serve import options_from
from dp_coordinator.cli.settings import Parser, Setting, UsageError, add, resolve
from dp_coordinator.cli.values import BadValueError, base_url, boolean, host_port, names, zmq_address
from dp_coordinator.process import ServeOptions
from dp_coordinator.simulation.options import DemoOptions, EngineOptions, FrontEndOptions

COMMANDS: dict[str, tuple[Setting, ...]] = {
    "serve": SERVE_SETTINGS,
    **{command.name: command.settings for command in REST_COMMANDS if not isinstance(command.settings, str)},
    "demo": simulated_flags.demo_settings(),
    "engine": simulated_flags.engine_settings(),
    "front-end": simulated_flags.front_end_settings(),
}
EXAMPLES = {
    "amount": ("2.5", 2.5),
    "base_url": ("http://10.0.0.1:80/", "http://10.0.0.1:80"),
    "boolean": ("true", True),
    "count": ("7", 7),
    "host_port": ("0.0.0.0:80", "0.0.0.0:80"),
    "http_address": ("127.0.0.1:8080-8089", "127.0.0.1:8080-8089"),
    "index": ("0", 0),
    "log_level": ("DEBUG", "debug"),
    "milliseconds": ("250", 250),
    "seconds": ("1.5", 1.5),
    "str": ("name", "name"),
    "text": (" why not ", "why not"),
    "token": ("s3cr3t", "s3cr3t"),
    "version": ("0.28", "0.28"),
    "zmq_address": ("tcp://10.0.0.1:5555", "tcp://10.0.0.1:5555"),
}
CASES = [
    pytest.param(command, setting, id=f"{command}{setting.flag}")
    for command, settings in COMMANDS.items()
    for setting in settings
]


def example(setting: Setting, folder: Path) -> tuple[str, Any]:
    """A text that the setting takes, and its value."""
    kind = setting.kind.__name__
    if kind == "output_file":
        return str(folder / "out.json"), folder / "out.json"
    if kind == "token_in":
        (folder / "token").write_text("s3cr3t\n")
        return str(folder / "token"), "s3cr3t"
    return EXAMPLES[kind]


def parsed(settings: tuple[Setting, ...], *words: str) -> argparse.Namespace:
    parser = Parser(prog="test")
    add(parser, settings)
    found: argparse.Namespace = parser.parse_args(words)
    return found


@pytest.mark.parametrize(("command", "setting"), CASES)
def test_flag_and_variable_mean_the_same(command: str, setting: Setting, tmp_path: Path) -> None:
    text, value = example(setting, tmp_path)
    alone = (setting,) if setting.excludes is None else COMMANDS[command]
    by_variable = resolve_one(alone, setting, parsed(alone), {setting.variable: text})
    assert by_variable == ((value,) if setting.many else value)
    if setting.on_command_line:
        words = (setting.flag,) if setting.is_switch else (f"{setting.flag}={text}",)
        assert resolve_one(alone, setting, parsed(alone, *words), {}) == by_variable


def resolve_one(
    settings: tuple[Setting, ...], setting: Setting, given: argparse.Namespace, variables: dict[str, str]
) -> Any:
    others = {other.variable: "1" for other in settings if other.required and other is not setting}
    return resolve(settings, given, {**others, **variables})[setting.name]


def test_the_variable_is_the_flag_in_capitals() -> None:
    assert Setting("--min-stats-update-interval-ms", "").variable == "DP_COORDINATOR_MIN_STATS_UPDATE_INTERVAL_MS"


def test_a_flag_goes_before_its_variable() -> None:
    settings = (Setting("--wave", "", int),)
    assert resolve(settings, parsed(settings, "--wave", "3"), {"DP_COORDINATOR_WAVE": "4"}) == {"wave": 3}


def test_an_empty_variable_counts_as_not_set() -> None:
    settings = (Setting("--wave", "", int, 9),)
    assert resolve(settings, parsed(settings), {"DP_COORDINATOR_WAVE": ""}) == {"wave": 9}


def test_a_repeated_flag_and_a_variable_with_commas_make_a_list() -> None:
    settings = (Setting("--allowed-host", "", many=True, default=()),)
    assert resolve(settings, parsed(settings, "--allowed-host", "a", "--allowed-host", "b"), {})["allowed_host"] == (
        "a",
        "b",
    )
    assert resolve(settings, parsed(settings), {"DP_COORDINATOR_ALLOWED_HOST": "a, b"})["allowed_host"] == ("a", "b")


OPPOSITES = (Setting("--http", "", str, "x", excludes="--no-http"), Setting("--no-http", "", boolean, False))


@pytest.mark.parametrize(
    ("words", "variables", "expected"),
    [
        (("--http=a",), {"DP_COORDINATOR_NO_HTTP": "1"}, {"http": "a", "no_http": False}),
        (("--no-http",), {"DP_COORDINATOR_HTTP": "a"}, {"http": "x", "no_http": True}),
        ((), {"DP_COORDINATOR_HTTP": "a", "DP_COORDINATOR_NO_HTTP": "0"}, {"http": "a", "no_http": False}),
    ],
)
def test_of_two_opposites_the_one_on_the_line_goes_first(
    words: tuple[str, ...], variables: dict[str, str], expected: dict[str, object]
) -> None:
    assert resolve(OPPOSITES, parsed(OPPOSITES, *words), variables) == expected


@pytest.mark.parametrize(
    ("words", "variables"),
    [(("--http=a", "--no-http"), {}), ((), {"DP_COORDINATOR_HTTP": "a", "DP_COORDINATOR_NO_HTTP": "true"})],
)
def test_opposites_of_one_rank_are_refused(words: tuple[str, ...], variables: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        resolve(OPPOSITES, parsed(OPPOSITES, *words), variables)


def test_serve_has_a_flag_for_every_option_and_the_same_defaults() -> None:
    values = resolve(SERVE_SETTINGS, parsed(SERVE_SETTINGS, "--engine-count", "3"), {})
    assert options_from(values) == ServeOptions(engine_count=3)
    names_of_flags = {setting.name for setting in SERVE_SETTINGS}
    renamed = {"wave_coordination": "no_wave_coordination", "allowed_hosts": "allowed_host"}
    renamed |= {"allowed_origins": "allowed_origin"}
    wanted = {renamed.get(field.name, field.name) for field in fields(ServeOptions)} - {"parent_pid"}
    assert wanted <= names_of_flags
    assert names_of_flags - wanted == {"no_http", "token_file", "endpoints_file", "supervised"}


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (EngineOptions, simulated_flags.engine_settings()),
        (FrontEndOptions, simulated_flags.front_end_settings()),
        (DemoOptions, simulated_flags.demo_settings()),
    ],
)
def test_the_simulation_has_a_flag_for_every_option_with_its_default(
    options: type[Any], settings: tuple[Setting, ...]
) -> None:
    by_name = {setting.name: setting for setting in settings}
    for field in fields(options):
        if field.name in simulated_flags.NOT_FOR_PEOPLE:
            assert field.name not in by_name
            continue
        setting = by_name[field.name]
        assert setting.required == (field.default is MISSING)
        assert setting.help
        if not setting.required:
            assert setting.default == field.default


@pytest.mark.parametrize("text", ["1", "true", "YES", "On"])
def test_true(text: str) -> None:
    assert boolean(text) is True


@pytest.mark.parametrize("text", ["0", "false", "No", "OFF"])
def test_false(text: str) -> None:
    assert boolean(text) is False


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:8080", "localhost:80", "0.0.0.0:65535"])
def test_host_and_port(text: str) -> None:
    assert host_port(text) == text


@pytest.mark.parametrize("text", ["", ":80", "a:", "a", "[]:1", "a:b", "a:-1", "a/b:1", "a:\u0661"])
def test_no_host_and_port(text: str) -> None:
    with pytest.raises(BadValueError):
        host_port(text)


@pytest.mark.parametrize(
    "text", ["tcp://*:5555", "tcp://127.0.0.1:*", "tcp://[::1]:1", "tcp://a-b.c:65535", "ipc:///a/b"]
)
def test_zmq_address(text: str) -> None:
    assert zmq_address(text) == text


@pytest.mark.parametrize(
    "text", ["", "tcp://", "tcp://a", "tcp://a:x", "udp://a:1", "tcp://a:1 ", "inproc://a", "ipc://"]
)
def test_no_zmq_address(text: str) -> None:
    with pytest.raises(BadValueError):
        zmq_address(text)


@pytest.mark.parametrize("text", ["https://a.example/dp/", "http://[::1]:8080", "http://localhost"])
def test_base_url(text: str) -> None:
    assert base_url(text) == text.rstrip("/")


@pytest.mark.parametrize("text", ["", "http://", "http://a:99999", "http://a?x=1", "http://a#b", "a:8080"])
def test_no_base_url(text: str) -> None:
    with pytest.raises(BadValueError):
        base_url(text)


def test_names() -> None:
    assert names(" a ,b,, c") == ("a", "b", "c")
