"""`dp-coordinator serve` as a process: what it prints and writes, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from dp_coordinator import __version__
from tests.cli.run import announced, load, rest, run, running

QUIET = ("serve", "--engine-count", "2", "--no-http")


def test_real_addresses_are_printed_and_written(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    with running(*QUIET, "--endpoints-file", str(file)) as process:
        printed = announced(process)
        assert process.poll() is None
        line = load(file)
        assert line["pid"] == process.pid
        assert line["http_url"] is None
        assert printed.pop("dashboard") == "none (--no-http)"
        assert printed == {name: line[name] for name in ("front_publish", "back_output", "back_publish")}
        assert all(address.startswith("tcp://127.0.0.1:") for address in printed.values())
        assert [path.name for path in tmp_path.iterdir()] == ["endpoints.json"]
    assert not file.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    with running(*QUIET) as process:
        announced(process)
        process.send_signal(number)
        assert process.wait(30) == 0
        assert "Traceback" not in rest(process.stderr)


def test_missing_engines_end_it_with_a_code_of_their_own() -> None:
    done = run(*QUIET, "--start-timeout", "0.2")
    assert done.returncode == 3
    assert "0 of 2 engines" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_zmq_address_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = run(*QUIET, "--front-publish-address", address)
    assert done.returncode == 2
    assert address in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_address_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--engine-count", "2", "--http", address)
    assert done.returncode == 2
    assert f"--http {address}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_endpoints_file_of_an_earlier_run_is_gone_when_this_one_fails(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    file.write_text(json.dumps({"pid": 1}))
    done = run(*QUIET, "--endpoints-file", str(file), "--start-timeout", "0.1")
    assert done.returncode == 3
    assert not file.exists()


def test_variables_alone_are_enough(tmp_path: Path) -> None:
    variables = {
        "DP_COORDINATOR_ENGINE_COUNT": "1",
        "DP_COORDINATOR_NO_HTTP": "true",
        "DP_COORDINATOR_FRONT_PUBLISH_ADDRESS": f"ipc://{tmp_path}/front",
        "DP_COORDINATOR_DIALECT": "0.28",
    }
    with running("serve", variables=variables) as process:
        assert announced(process)["front_publish"] == f"ipc://{tmp_path}/front"


def test_version_and_help_answer() -> None:
    assert run("--version").stdout == f"dp-coordinator {__version__}\n"
    done = run("--help")
    assert done.returncode == 0
    for name in ("serve", "demo", "state", "engines", "waves", "events", "start-wave", "engine", "front-end"):
        assert name in done.stdout


@pytest.mark.parametrize("command", ["serve", "demo", "state", "events", "start-wave", "engine", "front-end"])
def test_every_command_explains_itself(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert "DP_COORDINATOR_" in done.stdout


def test_help_loads_nothing_heavy() -> None:
    done = run("--help", variables={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & {"zmq", "fastapi", "uvicorn", "msgspec", "asyncio", "http.client"}


def test_beyond_this_machine_it_wants_a_token_or_a_word_that_the_network_is_trusted(tmp_path: Path) -> None:
    exposed = ("serve", "--engine-count", "2", "--http", "0.0.0.0:0")
    done = run(*exposed)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "without a token" in done.stderr
    assert "--trust-network-without-token" in done.stderr
    (tmp_path / "token").write_text("0123456789abcdef0123456789abcdef\n")
    for more in (("--token-file", str(tmp_path / "token")), ("--trust-network-without-token",)):
        with running(*exposed, *more) as process:
            assert announced(process)["dashboard"].startswith("http://127.0.0.1:")
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "and at every other address of this machine"
