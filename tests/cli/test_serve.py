"""`dp-coordinator serve` as a process: what it prints and writes, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from dp_coordinator import __version__
from dp_coordinator.cli.serve import nameless_file
from dp_coordinator.simulation.demo import run_demo
from dp_coordinator.simulation.options import DemoOptions
from tests.cli.run import COMMAND, announced, environment, load, rest, run, running
from tests.waiting import wait_until

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_cleanly_and_is_named_with_its_sender(number: signal.Signals) -> None:
    with running(*QUIET) as process:
        announced(process)
        process.send_signal(number)
        assert process.wait(30) == 0
        log = rest(process.stderr)
        assert "Traceback" not in log
        assert f"stopping: {number.name} from process {os.getpid()} (" in log


def test_an_interrupt_while_it_is_still_imported_is_no_traceback() -> None:
    code = """
import signal, sys
class Interrupted:
    def find_spec(self, name, *rest):
        if name == "dp_coordinator.settings":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupted())
from dp_coordinator.cli import main
sys.exit(main(["serve", "--engine-count", "2"]))
"""
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM])
def test_a_signal_that_was_ignored_when_it_started_does_not_end_it(number: signal.Signals) -> None:
    """SIGHUP under `nohup`; SIGINT and SIGQUIT behind a script's `&`."""
    other = signal.SIGTERM if number != signal.SIGTERM else signal.SIGINT
    before = signal.signal(number, signal.SIG_IGN)
    try:
        started = running(*QUIET)
        process = started.__enter__()
    finally:
        signal.signal(number, before)
    announced(process)
    process.send_signal(number)
    process.send_signal(other)
    assert process.wait(30) == 0
    log = rest(process.stderr)
    assert f"stopping: {other.name} from" in log
    assert f"stopping: {number.name}" not in log
    started.__exit__(None, None, None)


def test_a_demo_in_the_background_of_a_script_is_not_ended_by_the_scripts_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        started = running("demo", "--engines", "2", "--http", "127.0.0.1:0")
        process = started.__enter__()
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    assert any("Ctrl-C" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    log = rest(process.stderr)
    assert "stopping: SIGTERM from" in log
    assert "stopping: SIGINT" not in log
    started.__exit__(None, None, None)


def test_a_second_signal_while_it_stops_does_not_cut_it_off(tmp_path: Path) -> None:
    """Whoever ends a whole group sends its members two: one himself, one through their parent."""
    with running(*QUIET, "--record", str(tmp_path / "r")) as process:
        announced(process)
        for _ in range(200):
            process.send_signal(signal.SIGTERM)
            if process.poll() is not None:
                break
        assert process.wait(30) == 0
    assert run("replay", str(tmp_path / "r")).returncode == 0


def test_a_demo_whose_group_is_ended_leaves_a_whole_recording(tmp_path: Path) -> None:
    command = [*COMMAND, "demo", "--engines", "2", "--http", "127.0.0.1:0", "--record", str(tmp_path / "r")]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert "Ctrl-C ends the demo" in next(line for line in process.stdout if "Ctrl-C" in line)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    replayed = run("replay", str(tmp_path / "r"))
    assert (replayed.returncode, replayed.stderr) == (0, "")


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


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("supervised", [(), ("--supervised",)], ids=["alone", "supervised"])
def test_streams_that_its_parent_closed_are_no_sockets(
    closed: tuple[int, ...], supervised: tuple[str, ...], tmp_path: Path
) -> None:
    """As `serve >&-` does, after which the first socket would be stdout."""
    where = tmp_path / "endpoints.json"
    closing = "import os, sys; [os.close(int(n)) for n in sys.argv[1].split(',')]; os.execv(sys.argv[2], sys.argv[2:])"
    command = [
        *(sys.executable, "-c", closing, ",".join(map(str, closed)), *COMMAND, "serve", "--engine-count", "1"),
        *("--http", "127.0.0.1:0", "--endpoints-file", str(where), *supervised),
    ]
    with subprocess.Popen(command, env=environment()) as process:
        try:
            wait_until(where.exists, "the endpoints")
            url = json.loads(where.read_text())["http_url"]
            with urllib.request.urlopen(url + "/livez", timeout=60) as answer:
                assert answer.status == 200
        finally:
            process.terminate()
        assert process.wait(60) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full here")
@pytest.mark.parametrize("supervised", [(), ("--supervised",)], ids=["alone", "supervised"])
def test_a_full_disk_below_its_standard_output_is_said_in_a_sentence(supervised: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, *QUIET, *supervised],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert "what it prints cannot be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_folder_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    os.close(nameless_file())  # supervised, it needs none
    assert run_demo(DemoOptions()) == 2
    assert "/nowhere" in (said := capsys.readouterr().err)
    assert "let TMPDIR name one that can be written" in said
