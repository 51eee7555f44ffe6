"""Who is connected, on real sockets: where each comes from, what it is, whose it is, and how it ends."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq

from dp_coordinator.core.events import PeerConnected, PeerDisconnected
from dp_coordinator.core.snapshot import PeersView
from dp_coordinator.processes import engine_of, title_of
from dp_coordinator.transport import Sockets
from dp_coordinator.transport.peers import PeerEvent
from dp_coordinator.words import Channel, PeerKind
from tests.transport.rig import PATIENCE, STATS, Peer, Rig, admit, pack, rig
from tests.waiting import wait_until

ENGINE = """
import sys, zmq, msgspec
publish, output, index = sys.argv[1:]
context = zmq.Context()
push, sub = context.socket(zmq.PUSH), context.socket(zmq.XSUB)
push.connect(output); sub.connect(publish); sub.send(b"\\x01")
assert sub.recv() == b"READY"
print("ready", flush=True)
for line in sys.stdin:
    push.send(msgspec.msgpack.encode([int(index), [], {"num_running_reqs": int(line)}]))
    if not int(line):
        print(sub.recv_multipart()[0], flush=True)
"""


class Engine:
    """A process with an engine's two connections, that calls itself what it is told to."""

    def __init__(self, r: Rig, index: int, title: str = "python", wrap: tuple[str, ...] = ()) -> None:
        ends = r.mailbox.endpoints
        words = ["-c", ENGINE, ends.back_publish, ends.back_output, str(index)]
        command = ["bash", "-c", f'exec -a {title} {sys.executable} "$@"', title, *words]
        self.process = subprocess.Popen(
            [*wrap, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},  # by another name Python finds no environment
        )

    def ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def report(self, running: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{running}\n")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def engines(r: Rig, *titles: str) -> Iterator[list[Engine]]:
    there = [Engine(r, index, title) for index, title in enumerate(titles)]
    try:
        for engine in there:
            engine.ready()
        yield there
    finally:
        for engine in there:
            engine.end()


def view(r: Rig) -> PeersView:
    return r.mailbox.snapshot.peers


def kinds(r: Rig, channel: Channel) -> list[PeerKind]:
    return [kind for c, kind, _ in view(r).connections if c.peer.channel is channel]


@pytest.fixture(params=["ipc", "tcp"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, host="127.0.0.1" if request.param == "tcp" else None) as r:
        yield r


def test_the_rank_that_is_killed_is_named(deployment: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dp_coordinator")
    r = deployment
    ipc = r.mailbox.endpoints.back_output.startswith("ipc")
    with engines(r, "VLLM::EngineCore_DP0", "VLLM::EngineCore_DP1") as (one, two):
        if not ipc:  # only its reports tell which it is
            for engine in (one, two):
                engine.report(3)
        channels = (Channel.BACK_OUTPUT, Channel.BACK_PUBLISH) if ipc else (Channel.BACK_OUTPUT,)
        named = {(channel, rank) for channel in channels for rank in (0, 1)}
        wait_until(lambda: named <= {(c.peer.channel, e) for c, _, e in view(r).connections}, "both ranks")
        if ipc:
            peers = {e: c.peer for c, _, e in view(r).connections if c.peer.channel is Channel.BACK_PUBLISH}
            assert {e: peer.pid for e, peer in peers.items()} == {0: one.process.pid, 1: two.process.pid}
            assert peers[1].name.startswith(f"pid {two.process.pid} VLLM::EngineCore_DP1")
        killed_at = time.monotonic()
        two.process.kill()
        wait_until(lambda: view(r).gone, "the loss")
        assert time.monotonic() - killed_at < 2
        ((rank, ended),) = view(r).gone.items()
        assert (rank, ended.why) == (1, "connection closed")
        assert ended.peer.pid == two.process.pid if ipc else ended.peer.host == "127.0.0.1"
        said = f"Rank 1's reports ended ({ended.peer.name if ipc else '127.0.0.1:'}"
        wait_until(lambda: said in caplog.text, "the log, which is all that is left when vLLM ends itself over this")


def test_a_tap_before_ready_is_listed_as_a_tap(deployment: Rig) -> None:
    r = deployment
    tap = r.context.socket(zmq.SUB)
    tap.setsockopt(zmq.SUBSCRIBE, b"")
    tap.connect(r.mailbox.endpoints.back_publish)
    wait_until(lambda: kinds(r, Channel.BACK_PUBLISH) == [PeerKind.TAP], "the tap")
    r.engine()
    wait_until(lambda: r.mailbox.snapshot.engines_subscribed == 1, "the first engine")
    assert not r.mailbox.snapshot.ready
    r.engine()
    wait_until(lambda: r.mailbox.snapshot.ready, "READY")
    tap.close()
    wait_until(lambda: PeerKind.TAP not in kinds(r, Channel.BACK_PUBLISH), "the end of the tap")
    assert r.mailbox.snapshot.engines_subscribed == 2


def test_to_unsubscribe_is_not_to_leave(deployment: Rig) -> None:
    r = deployment
    one, _ = r.ready_engines()
    one.send(b"\x00")
    wait_until(lambda: r.mailbox.snapshot.engines_subscribed == 1, "the end of a subscription")
    one.send(b"\x01")
    wait_until(lambda: r.mailbox.snapshot.engines_subscribed == 2, "another one through the same connection")
    assert one.receive_start() == [0, None]


@pytest.mark.parametrize("told_before_it_ends", [True, False])
def test_a_subscription_that_is_heard_before_its_connection_counts(tmp_path: Path, told_before_it_ends: bool) -> None:
    """It counts at once, lest START be sent before READY.

    libzmq may tell of a connection after its first frame came: the order of two threads.
    """
    with Sockets(*(f"ipc://{tmp_path}/{name}" for name in ("front", "output", "back"))) as sockets:
        context: zmq.Context[Any] = zmq.Context()
        peer = Peer(context, zmq.XSUB, f"ipc://{tmp_path}/back")
        watch = sockets.watches[Channel.BACK_PUBLISH]
        admit(sockets, take_changes=False)
        frame = sockets.back_publish.recv(copy=False)
        assert watch.heeds(frame, time.monotonic())
        event = watch.subscribed(frame)
        assert isinstance(event, PeerConnected)
        assert (event.peer.socket_type, event.peer.pid, event.peer.uid) == ("XSUB", os.getpid(), os.getuid())
        if told_before_it_ends:
            assert watch.monitor.poll(int(PATIENCE * 1000))
            assert not list(watch.changes())
        peer.close()
        ended: list[PeerEvent] = []
        while not ended:
            assert watch.monitor.poll(int(PATIENCE * 1000))
            ended += watch.changes()
        assert ended == [PeerDisconnected(event.peer.id, "connection closed")]
        assert not list(watch.silent())
        context.destroy(linger=0)


BEGINS, GIVES_UP, ENDS = zmq.EVENT_ACCEPTED, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_DISCONNECTED


@pytest.mark.parametrize(
    ("events", "refused"),
    [
        ([(BEGINS, 0), (GIVES_UP, 0), (ENDS, 0)], 0),
        ([(BEGINS, 0), (ENDS, 0)], 1),
        ([(BEGINS, 0), (GIVES_UP, 0), (BEGINS, 1), (ENDS, 0)], 0),
        ([(BEGINS, 0), (BEGINS, 1), (GIVES_UP, 0), (GIVES_UP, 1), (ENDS, 1), (ENDS, 0)], 0),
        ([(BEGINS, 0), (BEGINS, 1), (GIVES_UP, 0), (ENDS, 1), (ENDS, 0)], 1),
        ([(GIVES_UP, 0), (BEGINS, 1), (ENDS, 0), (BEGINS, 0)], 0),
        ([(GIVES_UP, 0), (GIVES_UP, 1), (ENDS, 0), (BEGINS, 1), (BEGINS, 0), (ENDS, 1)], 0),
        ([(ENDS, 0), (BEGINS, 0)], 1),
    ],
)
def test_who_gives_up_is_not_refused_in_whatever_order_two_threads_tell(
    events: list[tuple[int, int]], refused: int
) -> None:
    """The order is theirs: no test can make it, so the events are told by hand."""
    anywhere = "tcp://127.0.0.1:0"
    with Sockets(anywhere, anywhere, anywhere) as sockets, ExitStack() as stack:
        watch = sockets.watches[Channel.BACK_PUBLISH]
        stack.enter_context(watch.monitor)
        told, watch.monitor = (stack.enter_context(sockets.context.socket(zmq.PAIR)) for _ in range(2))
        told.bind("inproc://told-by-hand")
        watch.monitor.connect("inproc://told-by-hand")
        connections = [stack.enter_context(socket.socket()) for _ in range(2)]
        for event, which in events:
            value = errno.EPIPE if event == GIVES_UP else connections[which].fileno()
            told.send_multipart([struct.pack("=HI", event, value), b""])
        assert not list(watch.changes())
        assert len(list(watch.silent())) == refused


def test_numbers_of_descriptors_are_used_again_and_nobody_is_mistaken(deployment: Rig) -> None:
    r = deployment
    for turn in range(30):
        front, engine = r.front_end(), r.engine()
        wait_until(lambda: r.mailbox.snapshot.front_ends == 1, f"front-end {turn}")
        wait_until(lambda: r.mailbox.snapshot.engines_subscribed == 1, f"engine {turn}")
        front.close()
        engine.close()
        wait_until(lambda: not view(r).connections, f"the end of both {turn}")
    ids = [entry.fields.get("subscribed") for entry in r.mailbox.log.since(0) if entry.kind == "engine_subscribed"]
    assert ids == [1] * 30


def test_thousands_of_connections_made_and_dropped_leave_nothing(tmp_path: Path) -> None:
    with rig(tmp_path, host="127.0.0.1") as r:
        r.ready_engines()
        for rank in range(2):
            r.output().send(pack([rank, [], STATS]))
        wait_until(lambda: len(view(r).connections) == 4, "the engines")
        for endpoint in (r.mailbox.endpoints.back_output, r.mailbox.endpoints.back_publish):
            port = int(endpoint.rpartition(":")[2])
            for _ in range(5_000):
                socket.create_connection(("127.0.0.1", port)).close()
        front = r.front_end()
        assert front.receive_load()[1:] == [0, False]  # it goes on
        wait_until(lambda: len(view(r).connections) == 5, "the end of them all")
        assert r.mailbox.snapshot.engines_subscribed == 2
        assert not view(r).gone
        assert not r.mailbox.counters.refused, "they gave up"


def test_half_open_connections_are_nobody(tmp_path: Path) -> None:
    with rig(tmp_path, host="127.0.0.1") as r:
        ends = r.mailbox.endpoints.back_output, r.mailbox.endpoints.back_publish
        ports = [int(endpoint.rpartition(":")[2]) for endpoint in ends]
        strangers = [socket.create_connection(("127.0.0.1", port)) for port in ports for _ in range(100)]
        r.ready_engines()
        wait_until(lambda: len(view(r).connections) == 102, "those to back_output are listed")
        assert kinds(r, Channel.BACK_OUTPUT) == [PeerKind.UNKNOWN] * 100
        assert (r.mailbox.snapshot.engines_subscribed, view(r).surplus) == (2, 0)
        for stranger in strangers:
            stranger.close()
        wait_until(lambda: len(view(r).connections) == 2, "their end")


def test_an_engine_that_changes_its_index_is_named_anew_and_harms_nobody(deployment: Rig) -> None:
    r = deployment
    r.ready_engines()
    honest, liar = r.output(), r.output()
    honest.send(pack([0, [], STATS]))
    wait_until(lambda: 0 in {e for c, _, e in view(r).connections if c.peer.channel is Channel.BACK_OUTPUT}, "rank 0")

    def named_as_1() -> bool:
        liar.send(pack([1, [], STATS]))
        return 1 in {e for c, _, e in view(r).connections if c.peer.channel is Channel.BACK_OUTPUT}

    def rivals_seen() -> bool:
        for peer in (honest, liar):
            peer.send(pack([0, [], STATS]))
        return 0 in view(r).rivals

    wait_until(named_as_1, "rank 1")
    wait_until(rivals_seen, "two that say that they are rank 0")
    assert r.mailbox.snapshot.engines_subscribed == 2
    assert not view(r).gone


def test_titles() -> None:
    assert engine_of("VLLM::EngineCore_DP3") == 3
    assert engine_of("VLLM::EngineCore") is None
    assert engine_of("ray::DPMoEEngineCoreActor") is None
    assert title_of(2**22 + 1) == ""
    assert "python" in title_of(os.getpid())


def _is_beyond(r: Rig, wave: int) -> bool:
    return r.mailbox.snapshot.current_wave > wave


def test_a_process_that_stands_still_is_not_cut_off(tmp_path: Path) -> None:
    """For ten seconds, as in a debugger, while publications flow to it."""
    with rig(tmp_path, host="127.0.0.1") as r, engines(r, "python", "python") as (one, two):
        os.kill(two.process.pid, signal.SIGSTOP)
        until = time.monotonic() + 10
        flood = r.output()
        while time.monotonic() < until:  # START to all, a wave after the other
            wave = r.mailbox.snapshot.current_wave
            flood.send(pack([0, [], None, 1.0, None, None, None, wave]))
            flood.send(pack([0, [], None, 1.0, None, None, wave]))
            wait_until(partial(_is_beyond, r, wave), "the next wave")
        assert r.mailbox.snapshot.engines_subscribed == 2
        os.kill(two.process.pid, signal.SIGCONT)
        for engine in (one, two):
            engine.report(0)
        assert two.process.stdout is not None
        assert two.process.stdout.readline()
        assert "engine_unsubscribed" not in r.kinds()


@pytest.fixture
def other_machine() -> Iterator[tuple[str, str, str]]:
    """A network namespace, the address of this side, and the name of this side's end of the link."""
    name = f"dpc{os.getpid()}"
    link, far = f"{name}a"[-15:], f"{name}b"[-15:]
    net = f"10.213.{os.getpid() % 250}"
    steps = [
        f"ip netns add {name}",
        f"ip link add {link} type veth peer name {far} netns {name}",
        f"ip addr add {net}.1/24 dev {link}",
        f"ip link set {link} up",
        f"ip -n {name} addr add {net}.2/24 dev {far}",
        f"ip -n {name} link set {far} up",
    ]
    try:
        for step in steps:
            if os.geteuid() != 0 or subprocess.run(step.split(), check=False, capture_output=True).returncode:
                pytest.skip(f"needs root and network namespaces: {step}")
        yield name, f"{net}.1", link
    finally:
        for step in (f"ip netns del {name}", f"ip link del {link}"):
            subprocess.run(step.split(), check=False, capture_output=True)


def test_a_link_that_dies_without_a_word_is_noticed_within_15_s(
    tmp_path: Path, other_machine: tuple[str, str, str]
) -> None:
    name, host, link = other_machine
    with rig(tmp_path, host=host) as r:
        here, far = Engine(r, 0), Engine(r, 1, wrap=("ip", "netns", "exec", name))
        try:
            for engine in (here, far):
                engine.ready()
                engine.report(3)
            wait_until(lambda: {0, 1} <= {e for _, _, e in view(r).connections}, "both ranks")
            subprocess.run(["ip", "link", "set", link, "down"], check=True)
            # The address of this side stays: what dies is the other one's link.
            down_at = time.monotonic()
            wait_until(lambda: view(r).gone, "the loss")
            assert time.monotonic() - down_at < 15
            ((rank, ended),) = view(r).gone.items()
            assert (rank, ended.why) == (1, "timed out")
            assert ended.peer.name.startswith(host.rpartition(".")[0] + ".2:")
        finally:
            here.end()
            far.end()


@pytest.mark.parametrize("where", ["ipc", "tcp", "two namespaces"])
def test_each_of_eight_that_is_killed_is_named_within_2_s(
    tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    name, host, _ = request.getfixturevalue("other_machine") if where == "two namespaces" else ("", "127.0.0.1", "")
    with rig(tmp_path, 8, host=None if where == "ipc" else host) as r:

        def begin(rank: int) -> Engine:
            wrap = ("ip", "netns", "exec", name) if name and rank % 2 else ()
            return Engine(r, rank, f"VLLM::EngineCore_DP{rank}", wrap)

        def all_known() -> bool:
            for running, engine in enumerate(there, 1):
                engine.report(running)
            outputs = {e for c, _, e in view(r).connections if c.peer.channel is Channel.BACK_OUTPUT}
            return outputs >= set(range(8)) and r.mailbox.snapshot.engines_subscribed == 8

        there = [begin(rank) for rank in range(8)]
        try:
            for rank in range(8):
                there[rank].ready()
            for rank in range(8):
                wait_until(all_known, "every rank under traffic")
                killed_at = time.monotonic()
                there[rank].end()
                wait_until(lambda: view(r).gone or view(r).missing_unnamed, "the loss")
                wait_until(lambda: view(r).gone, "its name")
                assert list(view(r).gone) == [rank]
                assert time.monotonic() - killed_at < 2
                there[rank] = begin(rank)
                there[rank].ready()
        finally:
            for engine in there:
                engine.end()
