"""A process of its own in which all engines' PUSH sockets live, driven over a pipe."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection

import msgspec.msgpack
import zmq

from benchmarks import frames

ANSWER_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Load:
    """Put `steps` lockstep steps of a running wave into the sockets' queues, whether they are taken or not."""

    steps: int
    full: bool


@dataclass(frozen=True)
class Pace:
    """Send reports at `rate` a second for `seconds`, evenly spread over time; rate None means as fast as possible.

    `start` says whether rank 0 first reports the wave as started, as it does in every real one.
    """

    rate: int | None
    seconds: float
    start: bool = True


@dataclass(frozen=True)
class Settle:
    """See to it that everything sent was consumed, by one wave_complete of every engine, each seen announced."""

    timeout_s: float


@dataclass(frozen=True)
class Sent:
    """What one order came to. Times are CLOCK_MONOTONIC, which all processes share."""

    reports: int
    began: float
    ended: float


Order = Load | Pace | Settle


class SettleTimeoutError(RuntimeError):
    """The coordinator did not consume its backlog in time."""


class Sender:
    """The parent's end."""

    def __init__(self, pipe: Connection[Order, Sent | Exception]) -> None:
        self._pipe = pipe

    def begin(self, order: Order) -> None:
        """Give an order without waiting."""
        self._pipe.send(order)

    def result(self) -> Sent:
        """Wait for the order given last. Raises what went wrong there."""
        if not self._pipe.poll(ANSWER_TIMEOUT_S):
            raise TimeoutError("the sender process does not answer")
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def do(self, order: Order) -> Sent:
        """Give an order and wait for it."""
        self.begin(order)
        return self.result()


@contextmanager
def sender(back_output: str, front_publish: str, engines: int) -> Iterator[Sender]:
    """A sender process connected to a coordinator."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_main, args=(theirs, back_output, front_publish, engines), daemon=True)
    process.start()
    theirs.close()
    try:
        if not isinstance(ours.recv(), Sent):
            raise RuntimeError("the sender process did not start")
        yield Sender(ours)
    finally:
        process.kill()
        process.join()
        ours.close()


def _main(pipe: Connection[Sent | Exception, Order], back_output: str, front_publish: str, engines: int) -> None:
    peers = _Peers(back_output, front_publish, engines)
    pipe.send(Sent(0, 0.0, 0.0))
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(peers.perform(order))
        except SettleTimeoutError as error:
            pipe.send(error)


class _Peers:
    """One PUSH socket an engine, and a front-end's subscription to see waves announced."""

    def __init__(self, back_output: str, front_publish: str, engines: int) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        context.max_sockets = max(1023, engines * 2)
        self.announcements = context.socket(zmq.SUB)
        self.announcements.connect(front_publish)
        self.announcements.subscribe(b"")
        self.engines = [context.socket(zmq.PUSH) for _ in range(engines)]
        for socket in self.engines:
            socket.linger = 0
            socket.sndhwm = 0
            socket.connect(back_output)
        self.wave = 0
        self._be_heard()

    def perform(self, order: Order) -> Sent:
        match order:
            case Load():
                return self._load(order)
            case Pace():
                return self._pace(order)
            case Settle():
                return self._settle(order)

    def _load(self, order: Load) -> Sent:
        began = time.monotonic()
        self.engines[0].send(frames.start_wave(0, self.wave))
        for step in islice(frames.steps(len(self.engines), self.wave, full=order.full), order.steps):
            for socket, frame in zip(self.engines, step, strict=True):
                socket.send(frame)
        return Sent(order.steps * len(self.engines), began, time.monotonic())

    def _pace(self, order: Pace) -> Sent:
        reports = (
            (socket, frame)
            for step in frames.steps(len(self.engines), self.wave)
            for socket, frame in zip(self.engines, step, strict=True)
        )
        next(reports)  # compiles the templates before the clock runs
        chunk = len(self.engines) if order.rate is None else max(1, order.rate // 1000)
        if order.start:
            self.engines[0].send(frames.start_wave(0, self.wave))
        sent, began = 0, time.monotonic()
        end = began + order.seconds
        while (now := time.monotonic()) < end:
            for socket, frame in islice(reports, chunk):
                socket.send(frame)
            sent += chunk
            if order.rate is not None and (due := began + sent / order.rate) > now:
                time.sleep(max(0.0, due - time.monotonic()))
        return Sent(sent, began, time.monotonic())

    def _settle(self, order: Settle) -> Sent:
        # A PULL socket takes from its peers in turn, so that one engine's last message says nothing of another's; a
        # wave that is not above the current one is not announced. Hence one after the other.
        began = time.monotonic()
        for engine, socket in enumerate(self.engines):
            socket.send(frames.wave_complete(engine, self.wave))
            while self._published_wave(began + order.timeout_s) <= self.wave:
                pass
            self.wave += 1
        return Sent(0, began, time.monotonic())

    def _be_heard(self) -> None:
        # One report brings out a publication: when it is here, the subscription is there.
        self.engines[0].send(frames.report(0, 0, 0))
        self._published_wave(time.monotonic() + 10)

    def _published_wave(self, deadline: float) -> int:
        if not self.announcements.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            raise SettleTimeoutError("nothing more was published: the backlog was not consumed in time")
        wave: int = msgspec.msgpack.decode(self.announcements.recv())[1]
        return wave
