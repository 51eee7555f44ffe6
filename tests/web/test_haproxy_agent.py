"""HAProxy's agent check on a real socket, and whoever else connects there."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest

from dp_coordinator.web.routers import haproxy
from dp_coordinator.web.routers.weights import Advice
from tests.core.connections import engine_subscribes, engine_unsubscribes
from tests.waiting import wait_until
from tests.web.rig import Site, site, start_wave, stats

FINE = [Advice(75), Advice(1, "rank_silent"), Advice(100, "gone", gone=True)]


@contextmanager
def agent(**settings: object) -> Iterator[tuple[Site, int]]:
    """A server with an agent, and the agent's port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    with listener, site(agent=listener, **settings) as running:  # type: ignore[arg-type]
        running.loop.subscribe_all()
        yield running, listener.getsockname()[1]


def ask(port: int, said: bytes) -> str:
    """What is answered until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), 20) as peer:
        peer.sendall(said)
        told = b""
        with suppress(ConnectionResetError):
            while more := peer.recv(4096):
                told += more
        return told.decode()


@pytest.mark.parametrize(
    ("line", "answered"),
    [
        (b"rank 0", "up ready 75%"),
        (b"rank 0\r", "up ready 75%"),
        (b"rank 0 state", "up ready"),
        (b"rank 1", "up drain"),
        (b"rank 1 state", "up drain"),
        (b"rank 2", "down ready #gone"),
        (b"rank 3", "fail #there is no rank 3: they are 0 to 2"),
        (b"rank 999999999", "fail #there is no rank 999999999: they are 0 to 2"),
        (b"rank -1", 'fail #say which rank: agent-send "rank 3\\n"'),
        (b"rank 0000000000", 'fail #say which rank: agent-send "rank 3\\n"'),
        (b"rank \xc2\xb2", 'fail #say which rank: agent-send "rank 3\\n"'),
        (b"GET / HTTP/1.1", 'fail #say which rank: agent-send "rank 3\\n"'),
        (b"", 'fail #say which rank: agent-send "rank 3\\n"'),
    ],
)
def test_a_line_and_its_answer(line: bytes, answered: str) -> None:
    assert haproxy.answer(line, FINE) == answered


def test_weights_follow_the_load() -> None:
    with agent() as (running, port):
        assert ask(port, b"rank 3\n") == "up ready 100%\n"
        running.loop.feed(start_wave(engine=0), stats(0, running=20), stats(1, running=10), stats(2), stats(3))
        wait_until(lambda: ask(port, b"rank 0\n") == "up ready 1%\n", "an answer newer than the one that is kept")
        assert ask(port, b"rank 2\n") == "up ready 100%\n"


def test_a_rank_that_is_gone_is_down() -> None:
    with agent() as (running, port):
        running.loop.feed(engine_unsubscribes())
        gone = list(running.mailbox.snapshot.peers.gone)
        for rank in gone:
            assert ask(port, b"rank %d\n" % rank).startswith("down ready #gone")
        assert ask(port, b"rank 0\n").startswith(("up ready", "down ready"))


def test_who_only_watches_says_nothing_before_anybody_answered() -> None:
    """After its restart it does not know which ranks there are: told so, HAProxy would take them all out."""
    with agent() as (running, port):
        running.mailbox.snapshot = replace(running.mailbox.snapshot, watched=True, ready=False)
        assert ask(port, b"rank 2\n") == ""
        running.mailbox.snapshot = replace(running.mailbox.snapshot, ready=True)
        assert ask(port, b"rank 2\n") == "up ready 100%\n"


def test_a_coordinator_gives_nobody_requests_before_ready() -> None:
    """Engines answer no request before it; and while none has connected, it may itself have just begun."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = listener.getsockname()[1]
    with listener, site(agent=listener) as running:
        assert ask(port, b"rank 2\n") == ""
        running.loop.feed(engine_subscribes())
        wait_until(lambda: ask(port, b"rank 2\n") == "up drain\n", "an answer while engines are missing")
        running.loop.feed(*[engine_subscribes() for _ in range(running.loop.core.engine_count - 1)])
        wait_until(lambda: ask(port, b"rank 2\n") == "up ready 100%\n", "an answer after READY")


def test_a_line_in_pieces() -> None:
    with agent() as (_, port), socket.create_connection(("127.0.0.1", port), 20) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"ra", b"nk ", b"2", b"\n"):
            peer.sendall(piece)
        assert peer.recv(100) == b"up ready 100%\n"
        assert peer.recv(100) == b""


@pytest.mark.parametrize("said", [b"", b"rank 2"])
def test_who_brings_no_line_is_told_nothing_and_it_is_said_once(
    said: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(haproxy, "LINE_S", 0.1)
    with agent() as (_, port), caplog.at_level(logging.WARNING):
        assert [ask(port, said) for _ in range(3)] == ["", "", ""]
        assert caplog.text.count('agent-send "rank 3') == 1


def test_a_flood_of_bytes_gets_one_answer_and_is_over() -> None:
    with agent() as (_, port):
        assert ask(port, b"x" * 100_000) in ("", 'fail #say which rank: agent-send "rank 3\\n"\n')
        assert ask(port, b"rank 2\n" * 1000) in ("", "up ready 100%\n")
        assert ask(port, b"rank 2\n") == "up ready 100%\n"


def test_silent_connections_keep_nobody_out() -> None:
    with agent(agent_connections=8) as (_, port), ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(40)]
        assert ask(port, b"rank 2\n") == "up ready 100%\n"
        with suppress(ConnectionResetError):
            assert silent[0].recv(1) == b""  # the oldest gave way


def test_who_comes_too_fast_is_turned_away_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "RATE", 3)
    with agent() as (running, port):
        told = [ask(port, b"rank 2\n") for _ in range(20)]
        assert told.count("up ready 100%\n") < 20
        metrics = running.get("/metrics").text
        assert f"dp_coordinator_haproxy_answers_total {told.count(told[0])}.0" in metrics
        assert "dp_coordinator_haproxy_refused_total 0.0" not in metrics


def test_who_goes_at_once_leaves_nothing_behind() -> None:
    with agent() as (running, port):
        for said in (b"", b"rank", b"rank 2\n") * 20:
            with socket.create_connection(("127.0.0.1", port), 20) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.sendall(said)
        assert ask(port, b"rank 2\n") == "up ready 100%\n"
        assert running.get("/livez").status_code == 200
