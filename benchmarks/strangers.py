"""What hostile peers can do: memory, publication gap and START while one to four of them attack, attack by attack.

Everybody is a process of its own: the coordinator with its page, the engines' load, and each stranger, which connects
again whenever it is cut off. START and the publication gap are measured in turns, for notices put the next publication
off (docs/protocol.md). `--kind ipc` attacks over ipc.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec.msgpack
import zmq

from benchmarks import frames, machine
from benchmarks.procfs import resident_mb
from benchmarks.sender import Pace, sender

ATTACKS = {
    "endless": ("front_publish", "back_output"),
    "endless-small": ("back_publish", "back_output"),
    "small": ("front_publish", "back_publish"),
    "notices": ("front_publish",),
    "subscriptions": ("back_publish",),
    "topics": ("front_publish", "back_publish"),
    "topic-60mb": ("front_publish",),
    "mib": ("back_output",),
    "unreadable": ("back_output",),
    "unfinished-60mb": ("back_output", "front_publish"),
    "unfinished-1mb": ("back_output",),
    "pings": ("front_publish", "back_output"),
    "crowd": ("front_publish", "back_publish", "back_output"),
    "greetings": ("back_output",),
    "short-greetings": ("front_publish",),
}
"""What is done (`tests.transport.strangers`), and to which sockets."""
ENGINES, REPORTS_PER_S = 8, 2_000
PATIENCE_S = 20.0
TURN_S = 0.5
"""How long START is measured, and then the publication gap."""
START_UP_S = 10.0
"""By which the load lasts longer than the attack: the strangers start meanwhile."""
NEVER_ENDING_MB, OTHERS_MB = 400, 250
_ROOT = Path(__file__).parent.parent


@dataclass
class Seen:
    """What was measured during one attack."""

    base_mb: float
    most_mb: float = 0.0
    after_mb: float = 0.0
    gap_s: float = 0.0
    starts: list[float] = field(default_factory=list)

    def row(self, name: str, peers: int) -> str:
        wanted = NEVER_ENDING_MB if name.startswith("endless") else OTHERS_MB
        starts = sorted(self.starts) or [PATIENCE_S]
        return (
            f"| {name} | {peers} | {self.base_mb:.0f} | {self.most_mb:.0f} (≤ {wanted}) | {self.after_mb:.0f} "
            f"| {self.gap_s * 1000:.0f} ms | {starts[len(starts) // 2] * 1000:.1f} ms "
            f"| {starts[len(starts) * 99 // 100] * 1000:.1f} ms |"
        )


class Deployment:
    """A coordinator and its honest peers."""

    def __init__(self, where: dict[str, Any], context: zmq.Context[Any]) -> None:
        self.where, self.pid = where, int(where["pid"])
        self._engines = [_connected(context, zmq.XSUB, where["back_publish"]) for _ in range(ENGINES)]
        self._front_end = _connected(context, zmq.XSUB, where["front_publish"])
        self._gauge = _connected(context, zmq.XSUB, where["front_publish"])
        self._rank0 = _connected(context, zmq.PUSH, where["back_output"])
        self._wave = 0
        self._notices = threading.Event()
        """START is measured."""
        for engine in self._engines:
            if engine.recv() != b"READY":
                raise RuntimeError("no READY")

    def start(self) -> float:
        """One wave, from notice to end; seconds until START at one of the engines."""
        chosen = self._engines[self._wave % ENGINES]
        began = time.monotonic()
        self._front_end.send(frames.notice((self._wave + 1) % ENGINES, self._wave))
        self._hear(chosen)
        took = time.monotonic() - began
        for engine in self._engines:
            if engine is not chosen:
                self._hear(engine)
        self._rank0.send(frames.wave_complete(0, self._wave))
        self._wave += 1
        while msgspec.msgpack.decode(self._front_end.recv())[1] < self._wave:
            pass
        return took

    def _hear(self, engine: zmq.Socket[Any]) -> None:
        while (got := engine.recv_multipart())[0] != b"\2" or msgspec.msgpack.decode(got[1])[0] < self._wave:
            pass  # one of the wave before, as a connection was made again

    def watch_gaps(self, seen: Seen, over: threading.Event) -> None:
        """Keep the longest time between two load publications while no notices of ours come."""
        last = math.inf
        while not over.is_set():
            load = self._gauge.poll(20) and msgspec.msgpack.decode(self._gauge.recv())[0] is not None
            now = time.monotonic()
            seen.gap_s = max(seen.gap_s, now - last)
            if self._notices.is_set():
                last = math.inf
            elif load:
                last = now

    def measure_starts(self, seen: Seen) -> None:
        """Wave after wave for a while."""
        self._notices.set()
        until = time.monotonic() + TURN_S
        while time.monotonic() < until:
            seen.starts.append(self.start())
            seen.most_mb = max(seen.most_mb, resident_mb(self.pid))
            time.sleep(0.005)
        self._notices.clear()


def _connected(context: zmq.Context[Any], kind: int, address: str) -> zmq.Socket[Any]:
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.linger, socket.rcvtimeo = 0, int(PATIENCE_S * 1000)
    socket.connect(address)
    if kind == zmq.XSUB:
        socket.send(b"\1")
    return socket


@contextmanager
def deployment(kind: str) -> Iterator[Deployment]:
    """Start everything but the strangers."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dpc-bench-")))
        told = folder / "endpoints.json"
        command = [sys.executable, "-m", "dp_coordinator", "serve", "--engine-count", str(ENGINES)]
        command += ["--dialect", frames.DIALECT, "--http", "127.0.0.1:0", "--endpoints-file", str(told)]
        if kind == "ipc":
            for name in ("front-publish", "back-output", "back-publish"):
                command += [f"--{name}-address", f"ipc://{folder}/{name}"]
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=_ROOT)
        stack.callback(process.wait)
        stack.callback(process.kill)
        deadline = time.monotonic() + PATIENCE_S
        while not told.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the coordinator did not start")
            time.sleep(0.05)
        context: zmq.Context[Any] = zmq.Context()
        stack.callback(context.destroy, 0)
        yield Deployment(json.loads(told.read_text()), context)


def measure(attack: str, channel: str, peers: int, given: argparse.Namespace) -> Seen:
    """One attack on a fresh coordinator."""
    with deployment(given.kind) as there, ExitStack() as stack:
        load = stack.enter_context(sender(there.where["back_output"], there.where["front_publish"], ENGINES))
        load.begin(Pace(REPORTS_PER_S, given.seconds + START_UP_S, start=False))
        time.sleep(1.5)  # the page has been imported
        seen, over = Seen(resident_mb(there.pid)), threading.Event()
        gaps = threading.Thread(target=there.watch_gaps, args=(seen, over))
        gaps.start()
        kind = "PUSH" if channel == "back_output" else "XSUB"
        told = [attack, there.where[channel], str(given.seconds), kind]
        try:
            _attack(there, seen, [_stranger(told) for _ in range(peers)])
        finally:
            over.set()
            gaps.join()
        time.sleep(given.wait)
        seen.after_mb = resident_mb(there.pid)
    return seen


def _stranger(told: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.transport.strangers", *told]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=_ROOT)


def _attack(there: Deployment, seen: Seen, strangers: list[subprocess.Popen[bytes]]) -> None:
    try:
        while any(stranger.poll() is None for stranger in strangers):
            there.measure_starts(seen)
            until = time.monotonic() + TURN_S
            while time.monotonic() < until:
                seen.most_mb = max(seen.most_mb, resident_mb(there.pid))
                time.sleep(0.005)
    except zmq.Again:
        seen.starts.append(PATIENCE_S)
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.wait()


def main() -> None:
    """Print the table, one row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=ATTACKS, action="append", help="this attack only; may be repeated")
    parser.add_argument("--peers", type=int, action="append", help="so many strangers (default 1 and 4)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each attacks (default 10)")
    parser.add_argument("--wait", type=float, default=10.0, help="seconds after it until memory is read again")
    parser.add_argument("--kind", choices=("tcp", "ipc"), default="tcp")
    given = parser.parse_args()
    print(f"Measured on {machine.describe()}: {ENGINES} engines, {REPORTS_PER_S:,} reports/s, over {given.kind}.\n")
    print("| attack | peers | MB before | MB at most | MB after | longest gap | START p50 | START p99 |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for attack in given.only or ATTACKS:
        for channel in ATTACKS[attack]:
            for peers in given.peers or (1, 4):
                seen = measure(attack, channel, peers, given)
                print(seen.row(f"{attack} to {channel}", peers), flush=True)


if __name__ == "__main__":
    main()
