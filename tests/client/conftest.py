"""A coordinator's three sockets, bound and driven by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq


class FakeCoordinator:
    """Receives and sends raw frames; every receive waits for its message and fails after five seconds."""

    def __init__(self, directory: Path) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.addresses = {name: f"ipc://{directory}/{name}" for name in ("front", "publish", "output")}
        self.front = self._bind(zmq.XPUB, "front")
        self.publish = self._bind(zmq.XPUB, "publish")
        self.output = self._bind(zmq.PULL, "output")

    def _bind(self, kind: int, name: str) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 5000)
        if kind == zmq.XPUB:
            socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        socket.bind(self.addresses[name])
        return socket

    def close(self) -> None:
        self.context.destroy(0)


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[FakeCoordinator]:
    fake = FakeCoordinator(tmp_path)
    yield fake
    fake.close()
