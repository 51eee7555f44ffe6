from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import tracemalloc
from types import MethodType, SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from dp_coordinator import messages as m
from dp_coordinator.web.stream.connection import Connection
from dp_coordinator.web.stream.serving import serve
from tests.web.builders import snapshot
from tests.web.rig import Site, site, start_wave
from tests.web.test_security import handshake_status
from tests.web.watching import Socket, broadcaster_over, decode, received, until


async def test_a_stalled_viewer_costs_constant_memory_and_is_cut_off() -> None:
    times: tuple[float | None, ...] = tuple(float(i) for i in range(2000))
    broadcaster, mailbox = broadcaster_over(snapshot(times), stall_timeout_s=0.5)
    stuck = Socket(deaf=True)
    serving = asyncio.create_task(serve(stuck, None, broadcaster))  # type: ignore[arg-type]
    await asyncio.wait_for(stuck.wire.written.wait(), 10)
    [viewer] = broadcaster.viewers

    def sample_often(rounds: int) -> int:
        for tick in range(rounds):
            mailbox.snapshot = snapshot(times, current_wave=tick)
            broadcaster.sample(tick / 1000)  # all in one second, of which the history keeps one
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        few = sample_often(3)
        many = sample_often(40)
    finally:
        tracemalloc.stop()
    newest = broadcaster.next(viewer)
    assert newest is not None
    assert many - few < len(newest)  # forty more states, and not even one more is held
    for now in (100.0, 100.4):
        broadcaster.write(viewer, now)
        assert not stuck.wire.aborted.is_set()
    broadcaster.write(viewer, 100.5)
    await asyncio.wait_for(serving, 5)
    assert broadcaster.stalled == 1
    assert not broadcaster.viewers


def test_a_client_that_stops_reading_is_cut_off_and_others_go_on() -> None:
    settings: dict[str, Any] = {
        "stall_timeout_s": 0.2,
        "sample_interval_s": 0.005,
        "heartbeat_s": 0.005,
        "send_buffer_bytes": 4096,
    }
    with site(2048, **settings) as running, socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.settimeout(10)
        stuck.connect(("127.0.0.1", running.port))
        stuck.sendall(
            b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert stuck.recv(12) == b"HTTP/1.1 101"
        with running.stream() as well:
            for message in received(well):
                assert not isinstance(message, m.GapMessage)
                if running.app.state.broadcaster.stalled:
                    break
            assert isinstance(decode(well.recv(5)), m.SnapshotMessage)
        with pytest.raises(ConnectionResetError):  # cut, not closed: it would not have read a goodbye
            list(iter(lambda: stuck.recv(65536), b""))


def test_what_viewers_say_is_ignored(fresh: Site) -> None:
    with fresh.stream() as viewer:
        viewer.recv(5)  # hello: from here on events follow
        for said in ("hello?", b"\x00\xff", "{", ""):
            viewer.send(said)
        fresh.loop.feed(start_wave())
        until(viewer, lambda x: isinstance(x, m.EventMessage))


def test_a_viewer_that_talks_too_much_is_sent_away(fresh: Site) -> None:
    with fresh.stream() as viewer:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1000):
                viewer.send("blah")
        with pytest.raises(ConnectionClosed):
            list(received(viewer))
        assert viewer.close_code == 1008


def test_a_viewer_that_says_something_large_is_sent_away(fresh: Site) -> None:
    with fresh.stream() as viewer:
        viewer.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            list(received(viewer))
        assert viewer.close_code == 1009
    assert fresh.get("/livez").status_code == 200


def test_one_viewer_too_many() -> None:
    with site(max_viewers=2) as running, running.stream() as first, running.stream() as second:
        first.recv(5)
        second.recv(5)
        with running.stream() as third:
            with pytest.raises(ConnectionClosed):
                third.recv(5)
            assert third.close_code == 1013
        first.recv(5)


@pytest.mark.parametrize("since", ["", "-1", "x", "1.5", "1" * 17, "٣", "1%20"])
def test_a_since_that_is_no_number(shared: Site, since: str) -> None:
    assert handshake_status(shared, f"?since={since}") == 422


def test_there_is_no_other_stream(shared: Site) -> None:
    with pytest.raises(Exception, match="403"), shared.stream("x"):
        pass


async def test_a_stopping_broadcaster_takes_nobody_and_does_not_wait_for_the_deaf() -> None:
    broadcaster, _ = broadcaster_over()
    stuck = Socket(deaf=True)
    serving = asyncio.create_task(serve(stuck, None, broadcaster))  # type: ignore[arg-type]
    await asyncio.wait_for(stuck.wire.written.wait(), 10)
    began = time.monotonic()
    await broadcaster.stop()
    assert time.monotonic() - began < 2
    assert stuck.wire.aborted.is_set()
    await serving
    assert broadcaster.full


async def test_one_that_was_sent_away_is_written_to_no_more() -> None:
    """Each write until it had gone was a traceback on the log, and a frame behind the goodbye."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    with theirs:
        leaving = SimpleNamespace(transport=writer.transport, close_sent=True)
        connection = Connection(MethodType(lambda _, message: reader.read(0), leaving))
        assert connection.writable
        writer.write_eof()
        connection.write(b"news")
        writer.close()
        await writer.wait_closed()
        assert theirs.recv(10) == b""
