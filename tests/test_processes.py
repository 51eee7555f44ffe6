"""What the kernel tells of processes, by real ones; and which rank's it is that stands."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from dp_coordinator import processes
from dp_coordinator.core.events import Peer
from dp_coordinator.core.snapshot import Connection
from dp_coordinator.sourced import Heartbeat, Origin, RankView, SourcesView, Told
from dp_coordinator.web.suspects import Suspects
from dp_coordinator.words import Channel, PeerKind, SourceKind
from tests.waiting import wait_until
from tests.web.builders import snapshot

CONNECT = "import socket, sys, time; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"


@contextmanager
def engine(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that calls itself as vLLM's engine of rank 1 does, connected to a port."""
    title = "VLLM::EngineCore_DP1"
    command = ["bash", "-c", f'exec -a {title} "$@"', "bash", sys.executable, "-c", CONNECT, str(port)]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_process_that_is_stopped_goes_on_ends_and_is_gone() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        assert processes.not_running(process.pid) is None
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: processes.not_running(process.pid) == "is stopped", "it is stopped")
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: processes.not_running(process.pid) is None, "it goes on")
        process.kill()
        wait_until(lambda: processes.not_running(process.pid) == "has ended", "it has ended")
    assert processes.not_running(process.pid) == "is gone"


def test_whose_a_connection_is() -> None:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with ExitStack() as stack:
            listener = stack.enter_context(socket.create_server((host, 0), family=family))
            mine = stack.enter_context(socket.create_connection(listener.getsockname()[:2]))
            name, port = mine.getsockname()[:2]
            address = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
            assert processes.owners([address, "10.0.0.7:1", "ipc"]) == {address: os.getpid()}


def test_a_stopped_engine_behind_tcp_is_found_by_its_connection_and_its_title() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, engine(listener.getsockname()[1]) as process:
        connection, (host, port) = listener.accept()
        with connection:
            peer = Peer(1, Channel.BACK_PUBLISH, host, f"{host}:{port}", "XSUB")
            origin = Origin(SourceKind.VLLM, "http://127.0.0.1:8000")
            stands = Heartbeat(9.0, "steps", 100.0, 95.0, 93.0, 95.0, origin)
            view = RankView(1, origin.target, running=Told(3, 100.0, origin), heartbeat=stands)
            made = snapshot((None, None), sources=SourcesView({1: view}))
            seen = replace(
                made, peers=replace(made.peers, connections=((Connection(peer, 0.0), PeerKind.ENGINE, None),))
            )
            suspects = Suspects(5.0)
            assert suspects.look(seen, 100.0) == {}
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: processes.not_running(process.pid) == "is stopped", "it is stopped")
            assert suspects.look(seen, 100.5) == {}, "looked for once a second"
            told = suspects.look(seen, 101.0)
            assert list(told) == [1]
            assert told[1].startswith(f"pid {process.pid} VLLM::EngineCore_DP1")
            assert told[1].endswith(" is stopped")
            steps = replace(seen, sources=SourcesView({1: replace(view, heartbeat=replace(stands, moved_at=100.0))}))
            assert suspects.look(steps, 103.0) == {}
