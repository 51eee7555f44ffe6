"""A loop on a thread, with its sockets on ipc and its mailbox in reach; and raw peers that speak bytes."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import zmq

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.transport import Loop, Sockets
from dp_coordinator.transport.descriptor import borrowed
from dp_coordinator.words import Channel

PATIENCE = 20.0
pack = msgspec.msgpack.encode
unpack = msgspec.msgpack.decode


STATS = {"num_waiting_reqs": 1, "num_running_reqs": 2, "step_counter": 0, "current_wave": 0, "kv_cache_usage": 0.5}
"""What an engine reports, of interest to nobody."""


def own_connections() -> Iterator[tuple[socket.socket, tuple[Any, Any]]]:
    """Every connection of this process, with its own and the other end's address."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError), borrowed(int(name)) as end:
            yield end, (end.getsockname(), end.getpeername())


def admit(sockets: Sockets, *, take_changes: bool = True) -> None:
    """Let in whoever is at the door, where no loop turns."""

    def take(channel: Channel) -> None:
        if take_changes:
            list(sockets.watches[channel].changes())

    assert sockets.doorkeeper.socket.poll(int(PATIENCE * 1000))
    assert not list(sockets.doorkeeper.answer(time.monotonic(), take))


class Peer:
    """One socket of an engine or front-end, as real vLLM opens it."""

    def __init__(self, context: zmq.Context[Any], kind: int, address: str) -> None:
        self.socket = context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, int(PATIENCE * 1000))
        self.socket.setsockopt(zmq.IPV6, int("[" in address))
        self.socket.connect(address)
        if kind == zmq.XSUB:
            self.socket.send(b"\x01")

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def receive(self) -> list[bytes]:
        frames: list[bytes] = self.socket.recv_multipart()
        return frames

    def receive_start(self) -> list[Any]:
        """The next START; engines since vLLM 0.18 pass over a READY after their first."""
        while (frames := self.receive()) == [b"READY"]:
            pass
        kind, body = frames
        assert kind == b"\x02"
        return list(unpack(body))

    def receive_load(self) -> list[Any]:
        while (message := unpack(self.receive()[0]))[0] is None:
            pass
        return list(message)

    def receive_wave_state(self) -> list[Any]:
        while (message := unpack(self.receive()[0]))[0] is not None:
            pass
        return list(message[1:])

    def close(self) -> None:
        self.socket.close()


class Rig:
    def __init__(self, mailbox: Mailbox, context: zmq.Context[Any], loop: Loop, thread: threading.Thread) -> None:
        self.mailbox = mailbox
        self.loop, self.thread = loop, thread
        self.wake = loop.wake_up.wake
        self.context = context
        self._peers: list[Peer] = []

    def _peer(self, kind: int, address: str) -> Peer:
        self._peers.append(Peer(self.context, kind, address))
        return self._peers[-1]

    def engine(self) -> Peer:
        return self._peer(zmq.XSUB, self.mailbox.endpoints.back_publish)

    def output(self) -> Peer:
        return self._peer(zmq.PUSH, self.mailbox.endpoints.back_output)

    def front_end(self) -> Peer:
        return self._peer(zmq.XSUB, self.mailbox.endpoints.front_publish)

    def ready_engines(self, count: int = 2) -> list[Peer]:
        engines = [self.engine() for _ in range(count)]
        for engine in engines:
            assert engine.receive() == [b"READY"]
        return engines

    def frames(self, kind: str, verdict: str) -> int:
        return self.mailbox.counters.frames.get((kind, verdict), 0)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.mailbox.log.since(0)]


@contextmanager
def rig(
    tmp_path: Any,
    engine_count: int = 2,
    dialect: str = "0.32",
    write_journal: Callable[[Any], None] = lambda state: None,
    *,
    host: str | None = None,
    **options: Any,
) -> Iterator[Rig]:
    """Over ipc, or over tcp at an address of this machine."""
    addresses = [
        f"ipc://{tmp_path}/{name}" if host is None else f"tcp://{host}:0" for name in ("front", "output", "back")
    ]
    core = Coordinator(engine_count, Dialect.for_version(dialect), now=time.monotonic(), **options)
    context: zmq.Context[Any] = zmq.Context()
    with Sockets(*addresses) as sockets:
        mailbox = Mailbox(core.snapshot(time.monotonic()), sockets.endpoints(), min_stats_update_interval=0.1)
        loop = Loop(core, sockets, mailbox, write_journal=write_journal)
        thread = threading.Thread(target=loop.run, name="loop")
        thread.start()
        try:
            yield Rig(mailbox, context, loop, thread)
        finally:
            context.destroy(linger=0)
            loop.stop()
            thread.join(PATIENCE)
            loop.close()
            assert not thread.is_alive()
