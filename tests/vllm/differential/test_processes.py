"""The same, smaller, over real sockets: vLLM's coordinator process and ours, each with peers of its own.

Stimuli come one at a time. After each comes a report with counts never seen before: when those are published, all that
was sent earlier was taken in, for vLLM's loop publishes only when nothing waits on any socket, and ours takes
front-ends first.
"""

from __future__ import annotations

import logging
import multiprocessing
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from dp_coordinator.core import Dialect
from dp_coordinator.handle import DPCoordinator
from tests.transport.rig import PATIENCE, Peer
from tests.vllm.differential import frames, generations
from tests.vllm.differential.generator import Generator
from tests.vllm.differential.scripted import BACK, FRONT, Stimulus

pytestmark = pytest.mark.vllm
ENGINES = 3
STIMULI = 80
BIND_TIMEOUT_S = 120  # vLLM's own patience: its process imports vLLM anew


@dataclass
class Side:
    """One coordinator process, the peers on it, and what those received."""

    engine: Peer
    front_end: Peer
    output: Peer
    context: zmq.Context[Any]
    back_publish: str
    front_publish: str
    to_engines: list[list[bytes]] = field(default_factory=list)
    announcements: list[bytes] = field(default_factory=list)
    load: bytes = b""
    further: dict[str, list[Peer]] = field(default_factory=lambda: defaultdict(list))
    """By channel."""
    lost: Counter[str] = field(default_factory=Counter)
    """Connections that ended and were not made again yet, by channel."""

    @classmethod
    @contextmanager
    def attached(cls, front_publish: str, back_output: str, back_publish: str) -> Iterator[Side]:
        with zmq.Context() as context, ExitStack() as stack:
            front_end = Peer(context, zmq.XSUB, front_publish)
            stack.callback(front_end.close)
            engines = [Peer(context, zmq.XSUB, back_publish) for _ in range(ENGINES)]
            for engine in engines:
                stack.callback(engine.close)
            output = Peer(context, zmq.PUSH, back_output)
            stack.callback(output.close)
            side = cls(engines[0], front_end, output, context, back_publish, front_publish)
            stack.callback(lambda: [peer.socket.close() for peers in side.further.values() for peer in peers])
            for engine in engines:
                assert engine.receive() == [b"READY"]
            yield side

    def give(self, stimulus: Stimulus, *, vllm: bool) -> None:
        """Send it, over a connection of its own where it is a subscription."""
        frame = stimulus.for_vllm if vllm and stimulus.for_vllm is not None else stimulus.frame
        if stimulus.channel == BACK:
            self._subscription(frame, BACK, self.back_publish)
        elif stimulus.channel == FRONT and frame in (b"\x00", b"\x01"):
            self._subscription(frame, FRONT, self.front_publish)
        else:
            (self.front_end if stimulus.channel == FRONT else self.output).send(frame)

    def _subscription(self, frame: bytes, channel: str, address: str) -> None:
        if frame == b"\x01":
            self.further[channel].append(Peer(self.context, zmq.XSUB, address))
            self.lost[channel] = max(0, self.lost[channel] - 1)
        elif self.further[channel]:
            self.further[channel].pop().close()  # whose subscription goes with it
            self.lost[channel] += 1

    def makes_again(self, stimulus: Stimulus) -> bool:
        """Whether it is a subscription, to a socket that lost one which was not made again yet."""
        return stimulus.frame == b"\x01" and self.lost[stimulus.channel] > 0

    def settle(self, mark: int) -> None:
        """Until a load says `mark`, the waiting requests of engine 0; and then whatever engines were sent."""
        while True:
            (frame,) = self.front_end.receive()
            counts = msgspec.msgpack.decode(frame)[0]
            if counts is None:
                self.announcements.append(frame)
                continue
            self.load = frame
            if counts[0][0] == mark:
                break
        while self.engine.socket.poll(20):
            self.to_engines.append(self.engine.receive())


@contextmanager
def vllms(folder: Path, *, wave_coordination: bool) -> Iterator[Side]:
    """vLLM's coordinator, as vLLM starts it."""
    _, module = generations.load(generations.INSTALLED)
    addresses = [f"ipc://{folder}/{name}" for name in ("front", "output", "back")]
    spawn = multiprocessing.get_context("spawn")
    bound, tell = spawn.Pipe(duplex=False)
    process = spawn.Process(
        target=module.DPCoordinatorProc.run_coordinator,
        args=(ENGINES, *addresses),
        kwargs={"enable_wave_coordination": wave_coordination, "zmq_addr_pipe": tell},
        daemon=True,
    )
    process.start()
    tell.close()
    try:
        assert bound.poll(BIND_TIMEOUT_S)
        assert list(bound.recv()) == addresses
        with Side.attached(*addresses) as side:
            yield side
    finally:
        process.kill()
        process.join(PATIENCE)


@contextmanager
def ours(*, wave_coordination: bool) -> Iterator[Side]:
    """Our process."""
    options: dict[str, Any] = {
        "dialect": generations.installed_version(),
        "wave_coordination": wave_coordination,
        "http": None,
    }
    with DPCoordinator(ENGINES, **options) as coordinator:
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        with Side.attached(coordinator.get_stats_publish_address(), back_output, back_publish) as side:
            yield side


@pytest.mark.parametrize("wave_coordination", [True, False], ids=["waves", "dense"])
def test_two_processes_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wave_coordination: bool) -> None:
    missing = generations.why_missing(generations.INSTALLED)
    if missing is not None:
        pytest.skip(missing)
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", logging.getLevelName(logging.ERROR))
    dialect = Dialect.for_version(str(generations.installed_version()))
    generator = Generator(7, dialect, wave_coordination=wave_coordination, engines=ENGINES)
    # The first are its engines' subscriptions, which these already have.
    stimuli = generator.sequence(7, STIMULI + 20).stimuli[-STIMULI:]
    with (
        vllms(tmp_path, wave_coordination=wave_coordination) as theirs,
        ours(wave_coordination=wave_coordination) as our,
    ):
        compare(theirs, our, stimuli, random.Random(7))
    assert len(our.to_engines) >= 10 if wave_coordination else our.announcements == []


def compare(theirs: Side, our: Side, stimuli: list[Stimulus], chance: random.Random) -> None:
    healing = 0
    for number, stimulus in enumerate(stimuli):
        healing += 2 * our.makes_again(stimulus)
        our.give(stimulus, vllm=False)
        if not stimulus.only_ours:
            theirs.give(stimulus, vllm=True)
        mark = 1_000 + number
        counts = (mark, chance.randrange(300), chance.random())
        for side in (theirs, our):
            side.output.send(frames.report(0, *counts))
            side.settle(mark)
        what = f"after {stimulus.what}"
        healing -= take_away_healing(our.to_engines, theirs.to_engines, healing)
        assert our.to_engines == theirs.to_engines, what
        assert our.announcements == theirs.announcements, what
        assert our.load == theirs.load, what


def take_away_healing(our: list[list[bytes]], their: list[list[bytes]], at_most: int) -> int:
    """Take away what a connection made again brings with ours alone: the named START, which excludes nobody; how many.

    Its moment is its own, for it waits for what the engines say; and once more it comes after the next wave.
    """
    taken = 0
    for place, message in enumerate(list(our)):
        at = place - taken
        is_same = at < len(their) and their[at] == message
        if not is_same and taken < at_most and message[0] == b"\x02" and msgspec.msgpack.decode(message[1])[1] is None:
            del our[at]
            taken += 1
    return taken
