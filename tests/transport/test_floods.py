"""Hostile peers, some seconds each: the process stays small, its peers are served, who floods is cut off and named."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from benchmarks.procfs import resident_mb
from tests.transport.rig import PATIENCE, Peer, pack, unpack

SECONDS = 3
AT_MOST_MB = 1000
"""No flood goes on for long: one that is never cut off takes gigabytes in that time.

How much it takes until then depends on how busy the machine is; `python -m benchmarks.strangers` measures it.
"""
ATTACKS = [
    ("endless", "back_output"),
    ("endless-small", "front_publish"),
    ("small", "back_publish"),
    ("topics", "front_publish"),
    ("topic-60mb", "back_publish"),
    ("mib", "back_output"),
    ("unfinished-60mb", "back_output"),
    ("unfinished-1mb", "back_output"),
    ("pings", "front_publish"),
    ("pings", "back_output"),
    ("crowd", "back_publish"),
    ("greetings", "back_output"),
]
NAMED = {"endless", "endless-small", "small", "topics", "mib", "pings", "crowd", "greetings"}
"""Those of which each connection is cut off by us; the others libzmq refuses at their first frame."""


class Served:
    """A coordinator in a process of its own, with two engines and a front-end."""

    def __init__(self, where: dict[str, Any], context: zmq.Context[Any]) -> None:
        self.where, self.pid = where, int(where["pid"])
        self.engines = [Peer(context, zmq.XSUB, where["back_publish"]) for _ in range(2)]
        self.front_end = Peer(context, zmq.XSUB, where["front_publish"])
        self.rank0 = Peer(context, zmq.PUSH, where["back_output"])
        self._wave = 0
        for engine in self.engines:
            assert engine.receive() == [b"READY"]

    def start(self) -> float:
        """One wave by a notice; how long until START, in seconds."""
        began = time.monotonic()
        self.front_end.send(pack((1, self._wave)))
        self._hears_start(self.engines[0])
        took = time.monotonic() - began
        self._hears_start(self.engines[1])
        self.rank0.send(pack([0, [], None, 1.0, None, None, self._wave]))
        self._wave += 1
        while unpack(self.front_end.receive()[0])[1] < self._wave:
            pass
        return took

    def _hears_start(self, engine: Peer) -> None:
        """Perhaps after another one of the wave before: strangers that come and go look like engines that do."""
        while engine.receive_start()[0] < self._wave:
            pass

    def events(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.where['http_url']}/api/v1/events?limit=1000", timeout=PATIENCE) as answer:
            page: dict[str, Any] = json.load(answer)
        return list(page["events"])


@contextmanager
def served(folder: Path, *arguments: str, kind: str = "tcp") -> Iterator[Served]:
    told = folder / "endpoints.json"
    names = ("front-publish", "back-output", "back-publish")
    command = [sys.executable, "-m", "dp_coordinator", "serve", "--engine-count=2", "--dialect=0.32"]
    command += ["--http=127.0.0.1:0", f"--endpoints-file={told}", *arguments]
    if kind == "ipc":
        command += [f"--{name}-address=ipc://{folder}/{name}" for name in names]
    with ExitStack() as stack:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        deadline = time.monotonic() + PATIENCE
        while not told.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        context = stack.enter_context(zmq.Context())
        peer = Served(json.loads(told.read_text()), context)
        for one in (*peer.engines, peer.front_end, peer.rank0):
            stack.enter_context(closing(one))
        yield peer


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
@pytest.mark.parametrize(("attack", "channel"), ATTACKS)
def test_a_flood_takes_neither_the_memory_nor_the_peers(tmp_path: Path, attack: str, channel: str, kind: str) -> None:
    if kind == "ipc" and attack in {"unfinished-1mb", "pings"}:
        pytest.skip("the kernel counts no bytes there: docs/operating.md")
    with served(tmp_path, f"--memory-limit={2 * AT_MOST_MB}", kind=kind) as peer:
        peer.start()
        command = [sys.executable, "-m", "tests.transport.strangers", attack, peer.where[channel], str(SECONDS)]
        command.append("PUSH" if channel == "back_output" else "XSUB")
        stranger = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        most = 0.0
        cut_off = None
        while cut_off is None:
            peer.start()
            most = max(most, resident_mb(peer.pid))
            with suppress(subprocess.TimeoutExpired):
                cut_off = int(stranger.communicate(timeout=0.02)[0])
        assert cut_off > 0 or attack == "unfinished-1mb", "it was never cut off"
        assert most < AT_MOST_MB
        if attack in NAMED:
            ended = [event["fields"] for event in peer.events() if event["kind"] == "peer_cut_off"]
            who = f"pid {stranger.pid}" if kind == "ipc" else "127.0.0.1:"
            assert any(e["channel"] == channel and e["peer"].startswith(who) for e in ended), ended
