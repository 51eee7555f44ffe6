"""The coordinator as a process: how it starts, says where it is, and ends."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest
import zmq

from dp_coordinator.handle import CoordinatorStartError, DPCoordinator, DPCoordinatorProc
from dp_coordinator.options import ServeOptions
from dp_coordinator.settings import SettingsError
from dp_coordinator.supervised import EXIT_START_TIMEOUT
from dp_coordinator.values import BadValueError, parse_host_port, zmq_address

PATIENCE = 20.0


def test_addresses_exit_code_and_sentinel() -> None:
    with DPCoordinator(engine_count=2, http=None) as coordinator:
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        assert coordinator.http_url is None
        assert len({back_publish, back_output, coordinator.get_stats_publish_address()}) == 3
        proc = coordinator.proc
        assert proc.is_alive()
        assert proc.exitcode is None
        assert wait([proc.sentinel], timeout=0) == []
    assert proc.exitcode == 0
    assert not proc.is_alive()
    coordinator.shutdown()
    coordinator.close()


def test_its_death_is_seen_by_both_kinds_of_poller() -> None:
    with DPCoordinator(engine_count=1, http=None) as coordinator:
        poller = zmq.Poller()
        poller.register(coordinator.proc.sentinel, zmq.POLLIN)
        coordinator.proc.kill()
        assert poller.poll(int(PATIENCE * 1000))
        assert wait([coordinator.proc.sentinel], timeout=PATIENCE) == [coordinator.proc.sentinel]
        coordinator.proc.join(PATIENCE)
        assert coordinator.proc.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(number: int) -> None:
    with DPCoordinator(engine_count=1) as coordinator:
        os.kill(coordinator.proc.pid, number)
        coordinator.proc.join(PATIENCE)
        assert coordinator.proc.exitcode == 0


def test_it_does_not_outlive_its_parent() -> None:
    script = (
        "import sys; from dp_coordinator.handle import DPCoordinator\n"
        "c = DPCoordinator(engine_count=1, http=None); print(c.proc.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        orphan = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        assert select.select([orphan], [], [], PATIENCE)[0], "the coordinator outlived its parent"
        os.close(orphan)


def test_missing_engines_end_it_with_a_code_of_their_own(capfd: pytest.CaptureFixture[str]) -> None:
    with DPCoordinator(engine_count=3, http=None, start_timeout=0.2) as coordinator:
        coordinator.proc.join(PATIENCE)
        assert coordinator.proc.exitcode == EXIT_START_TIMEOUT
    assert "0 of 3 engines have subscribed after 0.2 s (--start-timeout)" in capfd.readouterr().err


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CoordinatorStartError, match=f"cannot bind --http {address}: Address already in use"):
            DPCoordinator(engine_count=1, http=address)
        with pytest.raises(CoordinatorStartError, match="cannot bind back_output to tcp"):
            DPCoordinator(engine_count=1, http=None, back_output_address=f"tcp://{address}")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"engine_count": 0}, "--engine-count: 0 is out of bounds: use 1 to 16384"),
        ({"dialect": "0.9"}, "--dialect: vLLM 0.9 is too old"),
        ({"dialect": "newest"}, "is not a vLLM version"),
        ({"min_stats_update_interval_ms": -1}, "--min-stats-update-interval-ms: -1 is out of bounds: use 0 to 60000"),
        ({"start_timeout": 0}, "--start-timeout: 0 is out of bounds: use more than 0 and at most 86400 seconds"),
        ({"log_level": "loud"}, "--log-level: 'loud' is no log level: use debug, info, warning or error"),
        ({"http": "8080"}, "--http: '8080' is not HOST:PORT, such as 127.0.0.1:8080"),
        ({"engine_count": "2"}, "'<=' not supported"),
        ({"no_such_thing": 1}, "no_such_thing"),
    ],
)
def test_settings_that_cannot_be_used_are_named(options: Any, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        DPCoordinator(**({"engine_count": 1, "http": None} | options))


@pytest.mark.parametrize(
    ("address", "parsed"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("localhost:0", ("localhost", 0)), ("[::1]:80", ("::1", 80))],
)
def test_host_and_port(address: str, parsed: Any) -> None:
    assert parse_host_port(address) == parsed


@pytest.mark.parametrize(
    "address", ["", ":", "8080", "127.0.0.1", "127.0.0.1:", ":8080", "h:x", "h:70000", "h:-1", "::1:80"]
)
def test_no_host_and_port(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_host_port(address)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_a_public_address_needs_a_token_or_the_flag(host: str) -> None:
    with pytest.raises(CoordinatorStartError, match="token"):
        DPCoordinator(engine_count=1, http=f"{host}:0")


def test_a_long_tmpdir_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with DPCoordinator(engine_count=1, http=None) as coordinator:
        path = coordinator.get_stats_publish_address().removeprefix("ipc://")
        assert len(path) <= 107
        assert os.path.exists(path)
    assert not os.path.exists(os.path.dirname(path))
    assert list(deep.iterdir()) == []


def test_an_ipc_path_that_is_too_long_is_refused_in_words() -> None:
    with pytest.raises(BadValueError, match="at most 107 bytes"):
        zmq_address(f"ipc:///tmp/{'x' * 110}")


def test_the_token_is_not_in_the_options_text() -> None:
    assert "s3cr3t" not in repr(ServeOptions(1, token="s3cr3t"))


def test_run_coordinator_in_a_process_of_the_callers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    addresses = [f"ipc://{tmp_path}/{name}" for name in ("front", "output", "back")]
    process = context.Process(
        target=DPCoordinatorProc.run_coordinator, args=(1, *addresses), kwargs={"zmq_addr_pipe": send}
    )
    process.start()
    try:
        assert receive.poll(PATIENCE)
        assert receive.recv() == tuple(addresses)
    finally:
        process.terminate()
        process.join(PATIENCE)
    assert process.exitcode == 0
