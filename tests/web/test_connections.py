"""Connections that are silent, slow, many or loud, and HTTP that two programs may read differently."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import ConnectionClosed

from dp_coordinator.web import connections
from tests.transport.rig import own_connections
from tests.web.rig import Site, site

AT_ONCE_S = 5.0
"""A probe that nothing holds up has its answer by then on any machine; one that stands in a line waits for minutes."""
WHOLE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.contextmanager
def raw(running: Site, said: bytes = b"", source: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", running.port), 10, source_address=(source, 0)) as made:
        made.sendall(said)
        yield made


def answer(peer: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    told = b""
    with contextlib.suppress(ConnectionResetError):
        while more := peer.recv(65536):
            told += more
    return told


def closed(peer: socket.socket) -> bool:
    """Whether the other side closes without a word."""
    return answer(peer) == b""


def livez_takes(running: Site, source: str = "127.0.0.1") -> float:
    """Seconds from connecting to the whole answer."""
    began = time.monotonic()
    with raw(running, WHOLE, source) as peer:
        assert peer.recv(12) == b"HTTP/1.1 200"
    return time.monotonic() - began


# -- many ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: local"])
def test_silent_connections_keep_nobody_out(said: bytes) -> None:
    with site() as running, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(raw(running, said)) for _ in range(300)]
        assert livez_takes(running) < AT_ONCE_S
        assert livez_takes(running, "127.0.0.2") < AT_ONCE_S
        assert closed(silent[0])  # the oldest gave way
        silent[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            silent[-1].recv(1)
        counted = running.app.state.turned_away.counts["connections"]
        assert 100 < counted < 300
        assert f'http_refused_total{{reason="connections"}} {counted}.0' in running.get("/metrics").text


def test_one_address_does_not_push_out_another() -> None:
    with site() as running, contextlib.ExitStack() as stack:
        other = stack.enter_context(raw(running, source="127.0.0.2"))
        for number in range(600):
            stack.enter_context(raw(running, source=f"127.0.0.{3 + number // 120}"))
        other.sendall(WHOLE)
        assert other.recv(12) == b"HTTP/1.1 200"


def test_viewers_of_one_address_do_not_take_the_place_of_others() -> None:
    with site(viewers_per_client=2) as running, running.stream() as first, running.stream() as second:
        first.recv(5)
        second.recv(5)
        with raw(running, UPGRADE) as third:
            assert third.recv(12) == b"HTTP/1.1 429"
        with raw(running, UPGRADE, "127.0.0.2") as other:
            assert other.recv(12) == b"HTTP/1.1 101"
        assert "2 viewers of this address" in running.get("/api/v1/session").json()["stream_refused"]


UPGRADE = (
    b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


# -- slow ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        WHOLE + b"GET",
        b"POST /api/v1/waves HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 9\r\n\r\n{",
    ],
)
def test_who_does_not_go_on_is_cut_off(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("HEAD_S", "REQUEST_S"):
        monkeypatch.setattr(connections, limit, 0.2)
    with site() as running, raw(running, said) as peer:
        told = answer(peer)
        assert told.count(b"HTTP/1.1") == said.count(WHOLE)


def test_who_goes_on_byte_by_byte_is_cut_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    cut = pytest.raises((BrokenPipeError, ConnectionResetError))
    with site() as running, raw(running, b"GET / HTTP/1.1\r\nX: ") as peer, cut:
        pour(peer, b"x", pause=threading.Event().wait)


def pour(peer: socket.socket, said: bytes, pause: Callable[[float], object] = lambda _: None) -> None:
    """Send something again and again, until that fails or 20 s are over."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        peer.sendall(said)
        pause(0.005)


def test_the_rest_of_a_request_that_was_answered_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LINGER_S", 0.2)
    head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    with site() as running, raw(running, head) as peer:
        assert answer(peer).startswith(b"HTTP/1.1 413")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            pour(peer, b"x" * 10_000)


# -- loud ------------------------------------------------------------------------------------------------------------

FLOODS = {
    "pings": b"\x89\x80\0\0\0\0",
    "pongs": b"\x8a\x80\0\0\0\0",
    "empty texts": b"\x81\x80\0\0\0\0",
    "fragments": b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 20 + b"\x80\x80\0\0\0\0",
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_everything_a_viewer_says_is_talk(fresh: Site, flood: bytes) -> None:
    with fresh.stream() as viewer, contextlib.suppress(ConnectionClosed, OSError):
        viewer.recv(5)
        viewer.socket.sendall(flood * 200)
        for _ in viewer:
            pass
    assert viewer.close_code == 1008
    assert viewer.close_reason == "this stream takes no messages"


@pytest.mark.parametrize("flood", [*FLOODS.values(), b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n"])
def test_who_speaks_before_the_handshake_is_over_fills_no_log(
    shared: Site, flood: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        with contextlib.suppress(ConnectionError), raw(shared, UPGRADE) as peer:
            peer.sendall(flood * 20)
            peer.recv(1000)
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


def test_viewers_that_flood_hold_up_nobody() -> None:
    stop = threading.Event()

    def flood(running: Site) -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), raw(running, UPGRADE) as peer:
                while not stop.is_set():
                    peer.sendall(FLOODS["pings"] * 20_000)

    with site() as running, contextlib.ExitStack() as stack:
        stack.callback(stop.set)
        for _ in range(5):
            thread = threading.Thread(target=flood, args=(running,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(stop.set)
        assert max(livez_takes(running) for _ in range(20)) < AT_ONCE_S


def test_expensive_requests_hold_up_no_probe() -> None:
    """A hundred clients ask again and again for what takes long; the probes do not stand in their line."""
    ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with site(1024) as running, contextlib.ExitStack() as stack:
        running.loop.subscribe_all()
        for _ in range(100):
            stack.enter_context(raw(running, ask * 20))
        assert max(livez_takes(running, "127.0.0.2") for _ in range(20)) < AT_ONCE_S


def test_answers_do_not_wait_for_acknowledgements(fresh: Site) -> None:
    """With Nagle's algorithm the second answer of a kept connection comes 40 ms later."""
    with raw(fresh, WHOLE) as peer:
        assert peer.recv(12) == b"HTTP/1.1 200"
        assert no_delay(peer.getpeername(), peer.getsockname()) == [1]


def no_delay(own: object, other: object) -> list[int]:
    """TCP_NODELAY of this process's connections from here to there."""
    options = (socket.IPPROTO_TCP, socket.TCP_NODELAY)
    return [end.getsockopt(*options) for end, ends in own_connections() if ends == (own, other)]


# -- HTTP that two programs may read differently -----------------------------------------------------------------------

POST = b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
AMBIGUOUS = {
    "both lengths": POST + b'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{"token":""}\r\n0\r\n\r\n',
    "both lengths, the other way": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "lines without CR": b"GET /livez HTTP/1.1\nHost: localhost\n\n",
    "one line without CR": b"GET /livez HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
    "an end without CR": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\n",
    "a folded header": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: y\r\n z\r\n\r\n",
    "a folded header with a tab": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: y\r\n\tz\r\n\r\n",
    "a bare CR": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: y\rZ: z\r\n\r\n",
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nxxxxx",
    "a length with a sign": POST + b"Content-Length: +4\r\n\r\nxxxx",
    "a space before the colon": b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "another encoding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk without CR": CHUNKED + b"2\n{}\r\n0\r\n\r\n",
    "a chunked end without CR": CHUNKED + b"2\r\n{}\r\n0\r\n\n",
    "a trailer without CR": CHUNKED + b"2\r\n{}\r\n0\r\nX: y\n\r\n",
    "a chunk that is longer": CHUNKED + b"2\r\n{}x\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("said", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_ambiguous_requests_are_refused_and_closed(shared: Site, said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    before = shared.app.state.turned_away.counts["http"]
    with raw(shared, said + WHOLE) as peer:
        told = answer(peer)
    assert told.split()[1] in (b"400", b"501"), told
    assert told.count(b"HTTP/1.1") == 1  # what followed was not taken for a request
    assert shared.app.state.turned_away.counts["http"] == before + 1
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_good_requests_may_come_in_any_pieces(shared: Site, size: int) -> None:
    said = CHUNKED + b'5\r\n{"tok\r\n7\r\nen":""}\r\n0\r\n\r\n' + WHOLE
    with raw(shared) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(said), size):
            peer.sendall(said[start : start + size])
        told = b""
        while told.count(b"HTTP/1.1 200") < 2:
            more = peer.recv(65536)
            assert more, told
            told += more


def test_bad_requests_flood_no_log(shared: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(50):
        with raw(shared, b"\x16\x03\x01\r\n\r\n") as peer:
            assert answer(peer).startswith(b"HTTP/1.1 400")
    assert len(caplog.records) <= 6
