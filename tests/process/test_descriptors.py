"""Open files: who gets how many, and what happens to connections beyond that."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from dp_coordinator.descriptors import Listener, share
from dp_coordinator.wire.client import READY
from tests.cli.run import announced, environment
from tests.process.test_restart import Deployment, addresses_of

COMMAND = [sys.executable, "-m", "dp_coordinator", "serve", "--http", "127.0.0.1:0"]


@contextlib.contextmanager
def serving_within(files: int, *arguments: str) -> Iterator[Any]:
    """A coordinator that may have so many open files."""
    code = "import os, resource, sys; n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)); "
    code += "os.execv(sys.argv[2], sys.argv[2:])"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(files), *COMMAND, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_silent_connections_to_the_page_take_nothing_from_the_engines() -> None:
    """70 of them with 64 open files: engines got no READY, and the log grew by 13 MB a second."""
    with serving_within(64, "--engine-count", "2") as process, contextlib.ExitStack() as stack:
        *ends, url = addresses_of(process)
        host, _, port = url.removeprefix("http://").rpartition(":")
        for _ in range(70):
            stack.enter_context(socket.create_connection((host, int(port))))
        assert any("too many connections are open" in line for line in process.stderr)
        peers = Deployment(stack, *ends)
        assert peers.heard() == [[READY]] * 2
        with urllib.request.urlopen(f"{url}/livez", timeout=20) as answer:  # silent ones give way to one that asks
            assert answer.status == 200
        process.terminate()
        log = process.stderr.read()
        assert "was turned away" not in log  # not one that has come found no file left
        assert len(log) < 4096, log


def test_more_engines_than_can_connect_are_refused_with_the_number_that_fits() -> None:
    with serving_within(256, "--engine-count", "200") as process:
        assert process.wait(30) == 2
        said = process.stderr.read()
        found = re.search(r"--engine-count 200 is more than can connect: of 256 .* room for (\d+) engines", said)
        assert found is not None, said
        fits = int(found[1])
    assert 90 <= fits < 128
    with serving_within(256, "--engine-count", str(fits)) as process:
        announced(process)


def test_fewer_than_are_needed_to_begin_with_are_refused_in_a_sentence() -> None:
    with serving_within(20, "--engine-count", "1") as process:
        assert process.wait(30) == 2
        said = process.stderr.read()
        assert "only 20 files may be open, and 32 are the least" in said
        assert "Traceback" not in said


def test_the_limit_is_raised_for_as_many_engines_as_there_are_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 1 << 20))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append(limits[0]))
    budget = share(16_384, 2256, in_use=40)
    assert asked == [budget.limit]
    assert budget.engines >= 16_384
    assert budget.web == 2256


@pytest.mark.parametrize("limit", [64, 256, 1024, 4096])
def test_engines_come_first_and_the_page_keeps_a_few(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    budget = share(2, 2256, in_use=30)
    assert budget.engines >= 2
    assert 2 <= budget.web <= limit - 30 - 2 * 2
    assert share(limit, 2256, in_use=30).engines < limit


def test_a_listener_lets_another_in_when_one_has_gone() -> None:
    with (
        Listener(socket.create_server(("127.0.0.1", 0)), most=1) as listener,
        socket.create_connection(listener.getsockname()),
        socket.create_connection(listener.getsockname()) as second,
    ):
        first, _ = listener.accept()
        with pytest.raises(BlockingIOError):
            listener.accept()
        first.close()
        again, address = listener.accept()
        assert address == second.getsockname()
        again.close()
    assert listener.turned_away == 0


def test_without_a_file_left_one_is_turned_away_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Listener(socket.create_server(("127.0.0.1", 0)), most=9) as listener, contextlib.ExitStack() as stack:
        comers = [stack.enter_context(socket.create_connection(listener.getsockname())) for _ in range(3)]
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            for comer in comers[:2]:
                with pytest.raises(BlockingIOError):
                    listener.accept()
                assert comer.recv(1) == b""
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        again, address = listener.accept()
        assert address == comers[2].getsockname()
        again.close()
    assert listener.turned_away == 2
    assert len(caplog.messages) == 1
    assert "was turned away (Too many open files)" in caplog.messages[0]
