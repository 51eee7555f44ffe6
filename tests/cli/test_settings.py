"""Every setting of every command can be given on the command line or in its variable, and means the same."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pytest

import dp_coordinator
from dp_coordinator import values as v
from dp_coordinator.cli.commands import COMMANDS, named
from dp_coordinator.cli.settings import Parser, add
from dp_coordinator.options import AlarmOptions, CommandOptions, ServeOptions
from dp_coordinator.settings import Flag, Setting, SettingsError, checked, read, settings_of, to_arguments
from dp_coordinator.simulation.options import DemoOptions, EngineOptions, FrontEndOptions
from dp_coordinator.values import BadValueError, base_url, boolean, host_port, names, zmq_address

EXAMPLES = {
    "amount": ("2.5", 2.5),
    "base_url": ("http://10.0.0.1:80/", "http://10.0.0.1:80"),
    "boolean": ("true", True),
    "count": ("16", 16),
    "curve_address": ("tcp://10.0.0.1:5600", "tcp://10.0.0.1:5600"),
    "host_port": ("0.0.0.0:80", "0.0.0.0:80"),
    "allowed_host": ("https://DP.example:8443", "dp.example"),
    "http_address": ("127.0.0.1:8080-8089", "127.0.0.1:8080-8089"),
    "network_address": ("10.1.2.3/8", "10.0.0.0/8"),
    "allowed_origin": ("https://dp.example:443/", "https://dp.example"),
    "deployment_name": ("prod-moe", "prod-moe"),
    "index": ("0", 0),
    "log_level": ("DEBUG", "debug"),
    "milliseconds": ("250", 250),
    "scrape_url": ("http://10.0.0.7:8000-8007", "http://10.0.0.7:8000-8007"),
    "seconds": ("4.5", 4.5),
    "speed": ("2", 2.0),
    "str": ("name", "name"),
    "tap_address": ("tcp://10.0.0.1:5555", "tcp://10.0.0.1:5555"),
    "text": (" why not ", "why not"),
    "token": ("s3cr3t", "s3cr3t"),
    "peers": ("http://a:8080,http://b:8080", "http://a:8080,http://b:8080"),
    "version": ("0.28", "0.28"),
    "web_address": ("https://hooks.example/T0?x=1", "https://hooks.example/T0?x=1"),
    "webhook_format": ("slack", "slack"),
    "zmq_address": ("tcp://10.0.0.1:5555", "tcp://10.0.0.1:5555"),
}
CASES = [
    pytest.param(named(command.options), setting, flag, id=f"{command.name}{flag.flag}")
    for command in COMMANDS
    for setting in settings_of(named(command.options))
    for flag in setting.flags
]


def example(flag: Flag, folder: Path) -> tuple[str, Any]:
    """A text that the flag takes, and its value."""
    kind = flag.kind.read.__name__
    if kind in {"input_file", "key_file", "output_file", "recording", "replaced_file"}:
        (folder / "file").touch()
        return str(folder / "file"), str(folder / "file")
    if kind in {"token_in", "token_file"}:
        (folder / "token").write_text("s3cr3t\n")
        return str(folder / "token"), "s3cr3t" if kind == "token_in" else str(folder / "token")
    text, value = EXAMPLES[kind]
    return text, flag.means if flag.is_switch else value


def parsed(options: type[Any], *words: str) -> dict[str, Any]:
    parser = Parser(prog="test")
    add(parser, options)
    found: argparse.Namespace = parser.parse_args(words)
    return vars(found)


@pytest.mark.parametrize(("options", "setting", "flag"), CASES)
def test_flag_and_variable_mean_the_same(options: type[Any], setting: Setting, flag: Flag, tmp_path: Path) -> None:
    text, value = example(flag, tmp_path)
    expected = (value,) if setting.many else value
    others = {other.name: None for other in settings_of(options) if other.is_required}
    by_variable = getattr(read(options, {}, {flag.variable: text}, others), setting.name)
    assert by_variable == (expected if flag.for_people else setting.default)
    if flag.on_command_line:
        words = [flag.flag] if flag.is_switch else [text] if flag.is_positional else [f"{flag.flag}={text}"]
        placed = (
            other for other in settings_of(options) if other != setting for flag in other.flags if flag.is_positional
        )
        words += [example(other.flags[0], tmp_path)[0] for other in placed]
        assert getattr(read(options, parsed(options, *words), {}, others), setting.name) == expected
    assert flag.help


def test_the_variable_is_the_flag_in_capitals() -> None:
    assert Flag("--min-stats-update-interval-ms").variable == "DP_COORDINATOR_MIN_STATS_UPDATE_INTERVAL_MS"


@dataclass
class Example:
    """Each way in which a field can be set."""

    wave: v.Index = 9
    """Which wave."""
    hosts: Annotated[tuple[str, ...], Flag("--allowed-host")] = ()
    """HOST names that
    are allowed."""
    http: Annotated[str | None, Flag(), Flag("--no-http", "None.", means=None)] = "x"
    """A place."""
    calm: v.Switch = False
    """Whether it is."""
    waits: Annotated[v.Switch, Flag("--no-wait", means=False)] = True
    """Go on at once."""


VARIABLES = {"DP_COORDINATOR_WAVE": "4", "DP_COORDINATOR_ALLOWED_HOST": "a, b"}


@pytest.mark.parametrize(
    ("words", "variables", "expected"),
    [
        ((), {}, Example()),
        (("--wave", "3"), VARIABLES, Example(wave=3, hosts=("a", "b"))),
        (("--allowed-host", "c", "--allowed-host", "d"), VARIABLES, Example(wave=4, hosts=("c", "d"))),
        ((), dict.fromkeys(VARIABLES, ""), Example()),
        (("--calm", "--no-wait"), {}, Example(calm=True, waits=False)),
        ((), {"DP_COORDINATOR_NO_WAIT": "0", "DP_COORDINATOR_CALM": "no"}, Example()),
        (("--http=a",), {"DP_COORDINATOR_NO_HTTP": "1"}, Example(http="a")),
        (("--no-http",), {"DP_COORDINATOR_HTTP": "a"}, Example(http=None)),
        ((), {"DP_COORDINATOR_HTTP": "a", "DP_COORDINATOR_NO_HTTP": "0"}, Example(http="a")),
        ((), {"DP_COORDINATOR_NO_HTTP": "0"}, Example()),
        ((), {"DP_COORDINATOR_NO_HTTP": "1"}, Example(http=None)),
    ],
)
def test_the_command_line_goes_before_variables_and_they_before_defaults(
    words: tuple[str, ...], variables: dict[str, str], expected: Example
) -> None:
    assert read(Example, parsed(Example, *words), variables) == expected


def test_a_false_variable_goes_before_the_callers_default() -> None:
    defaults = {"calm": True, "wave": 7}
    assert read(Example, {}, {}, defaults) == Example(calm=True, wave=7)
    assert read(Example, {}, {"DP_COORDINATOR_CALM": "0"}, defaults) == Example(calm=False, wave=7)


@pytest.mark.parametrize(
    ("words", "variables", "text"),
    [
        (("--http=a", "--no-http"), {}, "--http and --no-http exclude each other: give one of them"),
        (
            (),
            {"DP_COORDINATOR_HTTP": "a", "DP_COORDINATOR_NO_HTTP": "true"},
            "DP_COORDINATOR_HTTP and DP_COORDINATOR_NO_HTTP exclude each other: set one of them",
        ),
    ],
)
def test_opposites_of_one_rank_are_refused(words: tuple[str, ...], variables: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        read(Example, parsed(Example, *words), variables)


def test_the_docstring_is_the_help() -> None:
    helps = {flag.flag: flag.help for setting in settings_of(Example) for flag in setting.flags}
    assert helps == {
        "--wave": "which wave",
        "--allowed-host": "HOST names that are allowed",
        "--http": "a place",
        "--no-http": "None.",
        "--calm": "whether it is",
        "--no-wait": "go on at once",
    }


def test_help_names_flags_variables_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(DemoOptions, "--help")
    text = capsys.readouterr().out
    for told in ("--respawn-after-s", "DP_COORDINATOR_RESPAWN_AFTER_S", "127.0.0.1:8080", "default 3"):
        assert told in text
    assert "parent-pid" not in text


def test_serve_has_a_flag_for_every_option_and_the_same_defaults() -> None:
    assert read(CommandOptions, parsed(CommandOptions, "--engine-count", "3"), {}) == CommandOptions(engine_count=3)
    own = {field.name for field in fields(CommandOptions)} - {field.name for field in fields(ServeOptions)}
    assert own == {"supervised", "endpoints_file"}
    hidden = [setting.name for setting in settings_of(CommandOptions) if not all(f.for_people for f in setting.flags)]
    assert hidden == ["parent_pid"]
    assert checked(ServeOptions(engine_count=3)) == ServeOptions(engine_count=3)


def test_a_setting_stands_where_it_is_declared_and_where_it_is_used() -> None:
    package = Path(dp_coordinator.__file__).parent
    for setting in settings_of(AlarmOptions):
        (flag,) = setting.flags
        spelled = (setting.name, flag.flag, flag.variable)
        found = {
            str(file.relative_to(package))
            for file in package.rglob("*.py")
            if any(text in file.read_text() for text in spelled)
        }
        assert found == {"options.py", "alarms/detector.py"}


ENGINE = EngineOptions(
    index=2,
    engine_count=4,
    back_publish_address="ipc:///never/a",
    back_output_address="ipc:///never/b",
    request_address="tcp://127.0.0.1:0",
    collective="127.0.0.1:5600",
    host_collective=True,
    step_ms=2.5,
    parent_pid=17,
)
FRONT_END = FrontEndOptions(front_publish_address="ipc:///never/c", engine_address=("ipc:///never/d", "ipc:///never/e"))


@pytest.mark.parametrize("options", [ENGINE, FRONT_END, DemoOptions(), DemoOptions(no_traffic=True, dialect="0.28")])
def test_arguments_give_back_the_same_options(options: Any) -> None:
    kind = type(options)
    assert read(kind, parsed(kind, *to_arguments(options)), {}) == options


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(SettingsError, match=r"--engine-count is needed \(or DP_COORDINATOR_ENGINE_COUNT\): how many"):
        read(EngineOptions, {"index": "1"}, {})


@pytest.mark.parametrize("text", ["1", "true", "YES", "On"])
def test_true(text: str) -> None:
    assert boolean(text) is True


@pytest.mark.parametrize("text", ["0", "false", "No", "OFF"])
def test_false(text: str) -> None:
    assert boolean(text) is False


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:8080", "localhost:80", "0.0.0.0:65535"])
def test_host_and_port(text: str) -> None:
    assert host_port(text) == text


@pytest.mark.parametrize("text", ["", ":80", "a:", "a", "[]:1", "a:b", "a:-1", "a/b:1", "a:\u0661", "a:70000"])
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


@pytest.mark.parametrize("kind", ["output_file", "replaced_file", "input_file", "token_file"])
def test_in_a_restart_a_file_is_not_even_looked_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server that is away, or in a folder that was closed meanwhile, looking fails as it does here."""
    away = "x" * 300
    with pytest.raises((OSError, BadValueError)):
        getattr(v, kind)(away)
    monkeypatch.setattr(v, "previous_end", lambda: "was killed")
    assert getattr(v, kind)(away) == away
