"""A real coordinator with simulated ranks, for working on the page: 8, 64 or 1,024 of them, and faults.

    python -m tests.browser.fixture --engines 1024 --http 127.0.0.1:8080 --fault silent-rank

All ranks live in this process. They run waves of 20 s with pauses of 4 s, and report ten times a second. Faults can be
switched while it runs: the file named by `--faults` holds their names, one a line.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from dp_coordinator.client.engine_protocol import EngineProtocol
from dp_coordinator.client.frontend import FrontendClient
from dp_coordinator.handle import DPCoordinator
from dp_coordinator.wire.client import SUBSCRIBE, encode_start_wave, encode_stats, encode_wave_complete

FAULTS = ("silent-rank", "imbalance", "bad-frames", "engine-gone", "not-stepping", "held-up")
TICK_S = 0.1
WAVE_S = 20.0
PAUSE_S = 4.0
STEPS_A_TICK = 3
FAULTY = 3
"""The rank that is silent, crowded or gone."""


class Fleet:
    """All ranks of a deployment: a subscription each, and one PUSH socket, on which what they say keeps its order."""

    def __init__(self, coordinator: DPCoordinator, engine_count: int, faults: Callable[[], set[str]] = set) -> None:
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        self._faults = faults
        self._ranks = [EngineProtocol(rank) for rank in range(engine_count)]
        self._faulty = min(FAULTY, engine_count - 1)
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, engine_count + 16)
        self._output = self._socket(zmq.PUSH, back_output)
        self._back_publish = back_publish
        self._subscriptions = [self._subscribe() for _ in self._ranks]
        self._random = random.Random(4)
        self._loads = [[0, 0] for _ in self._ranks]
        self.wave = 0
        self.step = 0
        self.running_since: float | None = None
        self._paused_at = time.monotonic()

    def _socket(self, kind: int, address: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.set_hwm(0)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(address)
        return socket

    def _subscribe(self) -> zmq.Socket[bytes]:
        socket = self._socket(zmq.XSUB, self._back_publish)
        socket.send(SUBSCRIBE)
        return socket

    def wait_ready(self) -> None:
        """Take READY on every subscription."""
        for protocol, socket in zip(self._ranks, self._subscriptions, strict=True):
            if not socket.poll(30_000):
                raise TimeoutError(f"no READY for rank {protocol.engine_index}")
            protocol.receive(socket.recv_multipart())

    def report(self, rank: int, waiting: int, running: int) -> None:
        """Send one report of one rank."""
        self._report(rank, waiting, running, min(1.0, (waiting + running) / 160), self.step)

    def _report(self, rank: int, waiting: int, running: int, kv_cache_usage: float, step: int) -> None:
        stats = encode_stats(
            rank,
            waiting=waiting,
            running=running,
            kv_cache_usage=kv_cache_usage,
            step_counter=step,
            current_wave=self.wave,
            timestamp=time.monotonic(),
            dialect=self._ranks[rank].dialect,
        )
        self._output.send(stats)

    def tick(self) -> None:
        """A tenth of a second of every rank's life."""
        now = time.monotonic()
        faults = self._faults()
        self._lose_or_find_an_engine("engine-gone" in faults)
        if "bad-frames" in faults:
            self._output.send(b"\xc1 this is no message")
        if self._woken() and self.running_since is None and "not-stepping" not in faults:
            self._begin(now)
        if self.running_since is not None:
            self._run(now, faults)
        elif "held-up" in faults:
            self._paused_at = now
            self._report(self._faulty, 0, 1, 0.1, 0)
        elif now - self._paused_at > PAUSE_S:
            self._output.send(encode_start_wave(0, self.wave, now, self._ranks[0].dialect))
            if "not-stepping" in faults:
                self._paused_at = now + 60
            else:
                self._begin(now)

    def _begin(self, now: float) -> None:
        self.running_since, self.step = now, 0

    def _run(self, now: float, faults: set[str]) -> None:
        assert self.running_since is not None
        self.step += STEPS_A_TICK
        over = now - self.running_since > WAVE_S and "silent-rank" not in faults
        for rank, load in enumerate(self._loads):
            if rank == self._faulty and "silent-rank" in faults:
                continue
            self._walk(load, over, crowded=rank == self._faulty and "imbalance" in faults)
            self.report(rank, *load)
        if over:
            self._output.send(encode_wave_complete(0, self.wave, now, self._ranks[0].dialect))
            self.wave += 1
            self.running_since, self._paused_at = None, now

    def _walk(self, load: list[int], over: bool, *, crowded: bool) -> None:
        if over:
            load[:] = [0, 0]
            return
        load[1] = max(1, min(64, load[1] + self._random.randint(-3, 4)))
        load[0] = max(0, min(90, load[0] + self._random.randint(-3, 2)))
        if crowded:
            load[:] = [self._random.randint(380, 400), 64]

    def _woken(self) -> bool:
        """Take what has arrived on every subscription; whether a START for this wave was among it."""
        woken = False
        for protocol, socket in zip(self._ranks, self._subscriptions, strict=False):
            while True:
                try:
                    start = protocol.receive(socket.recv_multipart(zmq.NOBLOCK))
                except zmq.Again:
                    break
                if start is not None and start.wave >= self.wave:
                    self.wave, woken = start.wave, True
        return woken

    def _lose_or_find_an_engine(self, lost: bool) -> None:
        if lost and len(self._subscriptions) == len(self._ranks):
            self._subscriptions.pop().close()
        elif not lost and len(self._subscriptions) < len(self._ranks):
            self._subscriptions.append(self._subscribe())

    def run(self, stop: threading.Event) -> None:
        """Tick until told to stop."""
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            self.tick()
            due = max(due + TICK_S, time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)


@contextlib.contextmanager
def fleet(
    engine_count: int, faults: Callable[[], set[str]] = set, **options: Any
) -> Iterator[tuple[DPCoordinator, Fleet]]:
    """A coordinator, ready, with its ranks and one front-end."""
    with (
        DPCoordinator(engine_count, **options) as coordinator,
        Fleet(coordinator, engine_count, faults) as ranks,
    ):
        ranks.wait_ready()
        with FrontendClient(coordinator.get_stats_publish_address()):
            yield coordinator, ranks


def _switched(arguments: argparse.Namespace) -> Callable[[], set[str]]:
    path: Path | None = arguments.faults

    def faults() -> set[str]:
        named = path.read_text().split() if path is not None and path.exists() else []
        return {*arguments.fault, *named}

    return faults


def main() -> None:
    """Run until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, default=8)
    parser.add_argument("--http", default="127.0.0.1:8080")
    parser.add_argument("--fault", choices=FAULTS, action="append", default=[], help="may be repeated")
    parser.add_argument("--faults", type=Path, help="a file with the names of faults, read again and again")
    arguments = parser.parse_args()
    with fleet(arguments.engines, _switched(arguments), http=arguments.http) as (coordinator, ranks):
        print(f"{arguments.engines} simulated ranks; dashboard at {coordinator.http_url}; faults: {', '.join(FAULTS)}")
        with contextlib.suppress(KeyboardInterrupt):
            ranks.run(threading.Event())


if __name__ == "__main__":
    main()
