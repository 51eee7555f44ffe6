"""Time from a front-end's new-request notice to the START broadcast at an engine.

Ours serves its viewers meanwhile; vLLM's loop has none. Every notice is followed by wave_complete, seen announced.
Each run has processes of its own: the order in which libzmq writes to the engines is theirs for life.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product

import msgspec.msgpack
import zmq

from benchmarks import frames
from benchmarks.procfs import resident_mb
from benchmarks.report import Figure, Settings, options, settings_from, table
from benchmarks.sender import Pace, sender
from benchmarks.subjects import Running, Subject, coordinator
from benchmarks.viewers import viewers

RATE_UNDER_LOAD = 5_000
PAUSE_S = 0.007
"""Between two notices, so that they fall anywhere between two of the page's updates."""
LOAD_S_PER_NOTICE = 0.03
TIMEOUT_S = 10.0


class Notices:
    """A front-end that gives notice, and rank 0 ending the wave afterwards."""

    def __init__(self, running: Running, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._running = running
        self._front_end = context.socket(zmq.XSUB)
        self._front_end.connect(running.front_publish)
        self._front_end.send(b"\x01")
        self._rank0 = context.socket(zmq.PUSH)
        self._rank0.connect(running.back_output)
        self._wave = 0
        for socket in (self._front_end, self._rank0):
            socket.linger = 0

    def go_on_after_restart(self) -> None:
        """End what a restart begins: START to all who are back, and once more after the wave's end."""
        for _ in range(2):
            self._running.engines.await_start(TIMEOUT_S)
            self._complete()

    def latencies(self, notices: int) -> list[float]:
        """Seconds until START, of each notice."""
        return [self._latency(number) for number in range(notices)]

    def _latency(self, number: int) -> float:
        engines = self._running.engines
        # Engines take turns: libzmq writes START to one after the other, in an order that is another in every process.
        measuring = number % len(engines.sockets)
        notice = frames.notice((number + 1) % len(engines.sockets), self._wave)
        began = time.monotonic()
        self._front_end.send(notice)
        start = engines.receive(measuring, TIMEOUT_S)
        took = time.monotonic() - began
        if start[0] != b"\x02" or msgspec.msgpack.decode(start[1])[0] != self._wave:
            raise RuntimeError(f"expected START of wave {self._wave}, got {start}")
        for engine in range(len(engines.sockets)):
            if engine != measuring:
                engines.receive(engine, TIMEOUT_S)
        self._complete()
        time.sleep(PAUSE_S)
        return took

    def _complete(self) -> None:
        self._rank0.send(frames.wave_complete(0, self._wave))
        deadline = time.monotonic() + TIMEOUT_S
        self._wave += 1
        while msgspec.msgpack.decode(self._published(deadline))[1] < self._wave:
            pass

    def _published(self, deadline: float) -> bytes:
        if not self._front_end.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            raise TimeoutError("wave_complete was not announced")
        return self._front_end.recv()

    def close(self) -> None:
        self._front_end.close()
        self._rank0.close()


def measure(settings: Settings) -> list[Figure]:
    """p50 and p99 with and without load, and our memory with the viewers."""
    what = f"START after a new-request notice, {settings.viewers} viewers on ours"
    figures = {
        (loaded, percent): Figure(f"{what}, {_name(loaded)}: p{percent}", "ms", "≤ vLLM's", 3)
        for loaded in (False, True)
        for percent in (50, 99)
    }
    memory = Figure(f"resident memory with {settings.viewers} viewers and load", "MB", "≤ 80 MB", 0)
    for _, subject in product(range(settings.runs), settings.subjects()):
        with _attached(subject, settings) as (running, notices):
            for loaded in (False, True):
                took = sorted((_under_load if loaded else _idle)(running, notices, settings))
                for percent in (50, 99):
                    figures[loaded, percent].add(subject, took[len(took) * percent // 100] * 1000)
            memory.add(subject, resident_mb(running.pid))
    return [*figures.values(), memory]


def _name(loaded: bool) -> str:
    return f"{RATE_UNDER_LOAD:,} reports/s" if loaded else "no load"


@contextmanager
def _attached(subject: Subject, settings: Settings) -> Iterator[tuple[Running, Notices]]:
    with ExitStack() as stack:
        running = stack.enter_context(coordinator(subject, settings.engines))
        context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context())
        notices = Notices(running, context)
        stack.callback(notices.close)
        if running.http_url is not None:
            stack.enter_context(viewers(running.http_url, settings.viewers))
        yield running, notices


def _idle(running: Running, notices: Notices, settings: Settings) -> list[float]:
    return notices.latencies(settings.notices)


def _under_load(running: Running, notices: Notices, settings: Settings) -> list[float]:
    with sender(running.back_output, running.front_publish, settings.engines) as peers:
        peers.begin(Pace(RATE_UNDER_LOAD, 0.5 + settings.notices * LOAD_S_PER_NOTICE, start=False))
        took = notices.latencies(settings.notices)
        finished = time.monotonic()
        if peers.result().ended < finished:
            raise RuntimeError("the load ended before the last notice: this machine is too slow or too busy")
    return took


if __name__ == "__main__":
    print(table(measure(settings_from(options(__doc__).parse_args()))))
