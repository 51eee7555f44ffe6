"""`/api/v1/loads/stream`: server-sent events, and how many may listen for how long."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from dp_coordinator.web.routers import stream
from tests.web.rig import TOKEN, Site, site, start_wave, stats


@contextmanager
def listening(running: Site, **headers: str) -> Iterator[Callable[[], Any]]:
    """A function that gives the next event."""
    with running.http.stream("GET", "/api/v1/loads/stream", headers=headers, timeout=20) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()

        def following() -> Any:
            line = next(line for line in lines if line.startswith("data: "))
            return json.loads(line.removeprefix("data: "))

        yield following


def test_the_stream_says_at_once_what_is_and_then_what_changes(fresh: Site) -> None:
    with listening(fresh) as following:
        assert [each["running"] for each in following()["loads"]] == [None] * 4
        fresh.loop.feed(start_wave(engine=1), stats(1, waiting=3, running=4))
        while (told := following()["loads"][1])["running"] is None:
            pass
        assert (told["waiting"], told["running"]) == (3, 4)


def test_a_head_request_ends(fresh: Site) -> None:
    answer = fresh.http.head("/api/v1/loads/stream")
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_stream_outlives_the_time_that_an_answer_may_take(fresh: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dp_coordinator.web.connections.REQUEST_S", 0.1)
    monkeypatch.setattr("dp_coordinator.web.connections.HEAD_S", 0.1)
    with listening(fresh) as following, socket.create_connection(("127.0.0.1", fresh.port)) as silent:
        assert silent.recv(1) == b""  # a sweep has been
        told = [following() for _ in range(4)]
    assert len(told) == 4


def test_one_address_gets_half_of_the_streams_and_places_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "OF_ONE_ADDRESS", 2)
    with site() as running, ExitStack() as stack:
        held = [stack.enter_context(ExitStack()) for _ in range(2)]
        for each in held:
            each.enter_context(listening(running))()
        refused = running.get("/api/v1/loads/stream")
        assert refused.status_code == 429
        assert "of this address" in refused.json()["detail"]
        held[0].close()
        deadline = time.monotonic() + 20
        while running.app.state.loads._listeners > 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with listening(running) as following:
            following()


def test_streams_are_few_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dp_coordinator.web.connections._ANSWERS_KEPT", 1)
    with site() as running, listening(running) as following:
        following()
        refused = running.get("/api/v1/loads/stream")
        assert (refused.status_code, refused.json()["detail"]) == (429, "too many streams are open")


def test_a_listener_that_takes_nothing_is_cut_off_and_the_others_are_told() -> None:
    with site(1024, stall_timeout_s=3.0) as running, ExitStack() as stack:
        deaf = stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /api/v1/loads/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        following = stack.enter_context(listening(running))
        while running.app.state.loads._listeners > 1:
            following()


def test_the_stream_needs_the_token_and_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    with site(token=TOKEN, token_file=str(file)) as running:
        assert running.get("/api/v1/loads/stream").status_code == 401
        with listening(running, authorization=f"Bearer {TOKEN}") as following:
            following()
            file.write_text("another-token-of-decent-length")
            with pytest.raises(StopIteration):
                [following() for _ in iter(int, 1)]


def test_stopping_ends_the_streams() -> None:
    ended = threading.Event()
    with ExitStack() as stack:
        running = stack.enter_context(site())
        answer = stack.enter_context(running.http.stream("GET", "/api/v1/loads/stream", timeout=20))

        def read() -> None:
            for _ in answer.iter_bytes():
                pass
            ended.set()

        reader = threading.Thread(target=read)
        reader.start()
        running.server.should_exit = True
        assert ended.wait(20)
        reader.join()


def test_no_listener_no_work(fresh: Site) -> None:
    """Nobody listens: no events are made."""
    before = fresh.app.state.loads._number
    with fresh.stream() as viewer:
        for _ in range(3):
            viewer.recv(5)
    assert fresh.app.state.loads._number == before
    assert isinstance(fresh.get("/api/v1/loads"), httpx.Response)
