"""Options become flags and flags become options."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from dp_coordinator.simulation.flags import descriptions, parse, to_arguments
from dp_coordinator.simulation.options import DemoOptions, EngineOptions, FrontEndOptions

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


@pytest.mark.parametrize("options", [ENGINE, FRONT_END, DemoOptions(), DemoOptions(no_traffic=True, dialect="0.28")])
def test_arguments_give_back_the_same_options(options: Any) -> None:
    assert parse(type(options), to_arguments(options), "test") == options


@pytest.mark.parametrize("options", [EngineOptions, FrontEndOptions, DemoOptions])
def test_every_flag_has_its_help(options: Any) -> None:
    assert set(descriptions(options)) == {field.name for field in fields(options)}


def test_help_names_flags_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(DemoOptions, ["--help"], "dp-coordinator demo")
    text = capsys.readouterr().out
    assert "--respawn-after-s" in text
    assert "127.0.0.1:8080" in text


def test_a_missing_flag_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(EngineOptions, ["--index=1"], "dp-coordinator engine")
    assert "--engine-count" in capsys.readouterr().err
