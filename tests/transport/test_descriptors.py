"""Descriptors are used again: what an ended connection left unread is not of the one that has its descriptor now."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest
import zmq

from dp_coordinator.core.events import PeerConnected, PeerIdentified
from dp_coordinator.transport import Sockets
from dp_coordinator.transport.descriptor import cookie_of, open_descriptors, sever, spare, state_of
from dp_coordinator.transport.peers import PeerEvent, PeerWatch
from dp_coordinator.words import Channel
from tests.transport.rig import PATIENCE, STATS, admit, own_connections, pack
from tests.transport.zmtp import connect, head
from tests.waiting import wait_until


def comes(sockets: Sockets, channel: Channel, socket_type: bytes, *bodies: bytes) -> socket.socket:
    """Somebody connects and sends, where no loop turns."""
    with ThreadPoolExecutor(1) as thread:
        handshake = thread.submit(connect, getattr(sockets.endpoints(), channel.value), socket_type)
        admit(sockets)
        connection = handshake.result()
    connection.sendall(b"".join(head(len(body)) + body for body in bodies))
    return connection


def has_gone(connection: socket.socket, sockets: Sockets, channel: Channel) -> None:
    """It closes, and libzmq has closed its end of it, though nothing that it sent was read."""
    assert getattr(sockets, channel.value).poll(int(PATIENCE * 1000))  # an XPUB takes it into a queue of its own
    here = connection.getpeername(), connection.getsockname()
    connection.close()
    wait_until(lambda: here not in {ends for _, ends in own_connections()}, "the end of a connection")


def told(watch: PeerWatch, ask: Callable[[], PeerEvent | None]) -> PeerEvent | None:
    """What is news of a connection, of whose beginning libzmq may tell after its first frame."""
    found = ask()
    if found is None:
        assert watch.monitor.poll(int(PATIENCE * 1000))
        changes = list(watch.changes())
        found = ask() or changes[-1]
    return found


def subscription(sockets: Sockets) -> zmq.Frame:
    """The next one; libzmq itself takes back that of a connection that ended."""
    while (frame := sockets.front_publish.recv(copy=False)).bytes != b"\x01":
        pass
    return frame


@contextmanager
def none_left() -> Iterator[None]:
    """This process has no descriptor to open anything with."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_descriptors()) + 1, before[1]))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        with suppress(OSError):
            while True:
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield


def test_a_connection_is_found_and_ended_when_there_is_no_descriptor_left() -> None:
    spare()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"unread")
        with none_left():
            with pytest.raises(OSError, match="Too many open files"):
                os.listdir("/proc/self/fd")
            assert ours.fileno() in open_descriptors()
            assert not sever(ours.fileno(), b"another one")
            assert sever(ours.fileno(), cookie_of(ours))
        assert theirs.recv(1) == b""
        ours.close()
        with pytest.raises(BrokenPipeError):
            theirs.send(b"there is no copy that would keep it")


@pytest.fixture
def unread() -> Iterator[Sockets]:
    with Sockets(*["tcp://127.0.0.1:0"] * 3) as sockets:
        yield sockets


def test_what_a_tap_left_unread_is_not_of_the_front_end_that_has_its_descriptor(unread: Sockets) -> None:
    channel, watch = Channel.FRONT_PUBLISH, unread.watches[Channel.FRONT_PUBLISH]
    has_gone(comes(unread, channel, b"SUB", b"\x01"), unread, channel)
    with closing(comes(unread, channel, b"XSUB", b"\x01")):
        left, own = subscription(unread), subscription(unread)
        assert left.get("__fd") == own.get("__fd")
        assert watch.heeds(left, 0.0)
        assert (watch.subscribed(left), watch.sender_of(left)) == (None, None)
        assert watch.heeds(own, 0.0)
        came = told(watch, lambda: watch.subscribed(own))
        assert isinstance(came, PeerConnected)
        assert came.peer.socket_type == "XSUB"


def test_nobody_is_cut_off_for_what_another_one_left_unread(unread: Sockets) -> None:
    channel, watch = Channel.BACK_OUTPUT, unread.watches[Channel.BACK_OUTPUT]
    has_gone(comes(unread, channel, b"PUSH", *[bytes(1 << 20)] * 12), unread, channel)
    with closing(comes(unread, channel, b"PUSH", pack([1, [], STATS]))):
        *left, own = sorted((unread.back_output.recv(copy=False) for _ in range(13)), key=len, reverse=True)
        assert left[0].get("__fd") == own.get("__fd")
        for frame in left:
            assert watch.heeds(frame, 0.0)
            watch.unreadable(frame, 0.0)
            assert watch.sent(frame, 0, 0.0) is None
        assert watch.heeds(own, 0.0)
        named = told(watch, lambda: watch.sent(own, 1, 0.0))
        assert isinstance(named, PeerIdentified)
        assert named.engine_index == 1


def test_names_are_wanted_until_each_connection_is_known_and_then_once_a_second(unread: Sockets) -> None:
    """However many engines there should be: those that are not connected send nothing."""
    channel, watch = Channel.BACK_OUTPUT, unread.watches[Channel.BACK_OUTPUT]
    with closing(comes(unread, channel, b"PUSH", pack([1, [], STATS]))):
        own = unread.back_output.recv(copy=False)
        told(watch, lambda: None if not watch.wants_names(10.0) else watch.sent(own, 1, 10.0))
        assert [watch.wants_names(at) for at in (10.5, 11.5, 12.0, 12.6)] == [False, True, False, True]
        watch.suspect(13.0)
        assert [watch.wants_names(at) for at in (13.1, 13.9, 14.1)] == [True, True, False]


def test_of_a_connection_that_has_gone_nothing_is_said_nor_of_who_has_its_descriptor_now() -> None:
    """libzmq closes a descriptor before the loop hears of it: "timed out" became "connection closed"."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = door.getsockname()
        one, two = socket.create_connection(address), socket.create_connection(address)
        number, cookie = one.fileno(), cookie_of(one)
        with two:
            with one:
                assert state_of(number, cookie) == (False, 0)
                os.dup2(two.fileno(), number)
                assert state_of(number, cookie) is None
                assert state_of(number, cookie_of(two)) == (False, 0)
            assert state_of(number, cookie) is None
