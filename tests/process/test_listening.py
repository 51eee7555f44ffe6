"""Where the page listens: what counts as taken, what moves aside, and what is announced."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from benchmarks.ports import free_port, free_ports
from dp_coordinator.addresses import bound_address
from dp_coordinator.handle import CoordinatorStartError, DPCoordinator
from dp_coordinator.hosts import HttpAddress
from dp_coordinator.listening import TakenError, listen, url_of
from dp_coordinator.process.listener import listen as listen_or_say_why
from dp_coordinator.transport import BindError
from tests.waiting import wait_until


@contextmanager
def bound(host: str, port: int, *options: int) -> Iterator[socket.socket]:
    """Bound, and not listening."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as made:
        for option in options:
            made.setsockopt(socket.SOL_SOCKET, option, 1)
        if host == "::":
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((host, port))
        yield made


AS_VLLM_BINDS = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080, 8080)),
        ("localhost:0", ("localhost", 0, 0)),
        ("[::1]:80", ("::1", 80, 80)),
        ("127.0.0.1:8080-8099", ("127.0.0.1", 8080, 8099)),
    ],
)
def test_http_addresses(text: str, parsed: tuple[str, int, int]) -> None:
    address = HttpAddress.parse(text)
    assert (address.host, address.port, address.last_port) == parsed
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "8080", "127.0.0.1", "127.0.0.1:", ":8080", "h:x", "h:70000", "h:-1", "h:9-8", "h:0-9", "h:1-", "::1:80"],
)
def test_http_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        HttpAddress.parse(text)


def test_a_port_that_somebody_else_needs_is_left_out() -> None:
    wanted = HttpAddress.parse("127.0.0.1:8080-8099")
    assert str(wanted.without(8080)) == "127.0.0.1:8081-8099"
    assert str(wanted.without(8085)) == "127.0.0.1:8080-8084"
    assert wanted.without(8000) is wanted
    assert HttpAddress.parse("127.0.0.1:8080").without(8080) is None


@pytest.mark.parametrize("listening", [False, True])
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "::"])
@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR,), AS_VLLM_BINDS])
def test_a_port_that_somebody_bound_is_taken(host: str, options: tuple[int, ...], listening: bool) -> None:
    port = free_ports(2)[0]
    with bound(host, port, *options) as theirs:
        if listening:
            theirs.listen()
        with pytest.raises(TakenError):
            listen(f"127.0.0.1:{port}")
        with listen(f"127.0.0.1:{port}-{port + 1}") as ours:
            assert bound_address(ours) == f"127.0.0.1:{port + 1}"
        if not listening:
            theirs.listen()  # as vLLM does minutes later


def leave_a_connection(listener: socket.socket) -> None:
    """A connection of which this side keeps the end for a minute (TIME_WAIT)."""
    with socket.create_connection(listener.getsockname()) as peer:
        listener.accept()[0].close()
        assert peer.recv(1) == b""


def test_what_is_left_of_connections_is_no_hindrance() -> None:
    port = free_port()
    where = f"127.0.0.1:{port}"
    with listen(where) as first:
        leave_a_connection(first)
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(("127.0.0.1", port))
    with listen(where) as second:
        assert bound_address(second) == where
        leave_a_connection(second)
    with bound("0.0.0.0", port, *AS_VLLM_BINDS), pytest.raises(TakenError):
        listen(where)


def test_it_comes_back_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    port = free_ports(2)[0]
    wanted = f"127.0.0.1:{port}-{port + 1}"
    with listen(wanted, f"127.0.0.1:{port + 1}") as back:
        assert bound_address(back) == f"127.0.0.1:{port + 1}"
    with bound("127.0.0.1", port + 1), listen(wanted, f"127.0.0.1:{port + 1}") as moved:
        assert bound_address(moved) == f"127.0.0.1:{port}"
    assert "cannot come back" in caplog.text


def test_moving_aside_is_said_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    port = free_ports(2)[0]
    with bound("0.0.0.0", port, *AS_VLLM_BINDS), listen(f"127.0.0.1:{port}-{port + 1}") as ours:
        [line] = caplog.messages
        assert line == f"port {port}: Address already in use; the page is at {url_of(ours)}"


def test_a_chosen_port_is_refused_at_once() -> None:
    with bound("0.0.0.0", 0, *AS_VLLM_BINDS) as theirs:
        address = f"127.0.0.1:{theirs.getsockname()[1]}"
        with pytest.raises(BindError, match=f"cannot bind --http {address}: Address already in use"):
            listen_or_say_why(address)
        with pytest.raises(CoordinatorStartError, match=f"cannot bind --http {address}"):
            DPCoordinator(engine_count=1, http=address)


def test_names_that_are_none_are_refused_in_words() -> None:
    with pytest.raises(BindError, match=r"cannot bind --http no\.such\.name\.invalid:80"):
        listen_or_say_why("no.such.name.invalid:80")


def status(host: str, port: int) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("http", ["0.0.0.0:0", "[::]:0"])
def test_all_addresses_are_served_and_one_that_opens_is_announced(http: str) -> None:
    with DPCoordinator(engine_count=1, http=http, token="a-token-of-decent-length") as coordinator:
        url = urlsplit(coordinator.http_url or "")
        assert url.hostname == "127.0.0.1"
        assert url.port is not None
        assert status("127.0.0.1", url.port) == 200
        if http.startswith("[::]"):
            assert status("::1", url.port) == 200


def test_two_deployments_on_one_host_and_a_restart() -> None:
    """Both with the default, as far as a test can: the same range for both."""
    port = free_ports(2)[0]
    wanted = f"127.0.0.1:{port}-{port + 1}"
    with (
        DPCoordinator(engine_count=1, http=wanted, supervised=True) as first,
        DPCoordinator(engine_count=1, http=wanted, supervised=True) as second,
    ):
        assert first.http_url == f"http://127.0.0.1:{port}"
        assert second.http_url == f"http://127.0.0.1:{port + 1}"
        before = second.worker_pid()
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: second.worker_pid() != before, "the next worker")
        wait_until(lambda: answers("127.0.0.1", port + 1), "the page, where it was")


def answers(host: str, port: int) -> bool:
    try:
        return status(host, port) == 200
    except OSError:
        return False
