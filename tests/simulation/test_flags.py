"""Options: flags for people, JSON for processes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec
import pytest

from dp_coordinator.simulation.__main__ import main
from dp_coordinator.simulation.children import as_json
from dp_coordinator.simulation.flags import descriptions
from dp_coordinator.simulation.options import DemoOptions, EngineOptions, FrontEndOptions
from tests.cli.run import run

ENGINE = EngineOptions(
    index=2,
    engine_count=4,
    back_publish_address="ipc:///tmp/a",
    back_output_address="ipc:///tmp/b",
    request_address="tcp://127.0.0.1:0",
    collective="127.0.0.1:5600",
    host_collective=True,
    step_ms=2.5,
    parent_pid=17,
)
FRONT_END = FrontEndOptions(front_publish_address="ipc:///tmp/c", engine_address=("ipc:///tmp/d", "ipc:///tmp/e"))


@pytest.mark.parametrize("options", [ENGINE, FRONT_END])
def test_what_a_child_is_told_gives_back_the_same_options(options: Any) -> None:
    assert msgspec.json.decode(as_json(options), type=type(options)) == options


@pytest.mark.parametrize("options", [EngineOptions, FrontEndOptions, DemoOptions])
def test_every_flag_has_its_help(options: Any) -> None:
    assert set(descriptions(options)) == {field.name for field in fields(options)}


def test_help_names_flags_and_defaults() -> None:
    text = run("demo", "--help").stdout
    assert "--respawn-after-s" in text
    assert "127.0.0.1:8080" in text


def test_a_missing_flag_is_named() -> None:
    assert "--engine-count" in run("engine", "--index=1").stderr


@pytest.mark.parametrize("arguments", [(), ("engine",), ("rank", "{}")])
def test_a_process_that_is_told_something_else(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments]) == 2
    assert "expected engine or front-end" in capsys.readouterr().err
