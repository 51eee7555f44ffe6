"""What the published load is worth: how long requests wait, and how uneven the engines are, on either coordinator.

Simulated engines take their steps together and report their counts after each; front-ends choose an engine as vLLM's do
(`get_core_engine_for_request` in vllm/v1/engine/core_client.py), by the load that the coordinator under measurement
published and by what they have in flight themselves. Nothing else differs from run to run: requests, engines and
front-ends are the same. A last pair of rows has front-ends that hear no load at all.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from statistics import fmean

import zmq

from benchmarks import frames
from benchmarks.report import Figure, Settings, options, settings_from, table
from benchmarks.routing.workload import LONG_S, MEAN_S, Request, percentile, requests
from benchmarks.subjects import Running, Subject, coordinator
from dp_coordinator.client import FrontendClient
from dp_coordinator.simulation.scheduler import Job, Scheduler

SLOTS = 4
"""Requests that an engine runs at a time."""
UTILISATION = 0.85
FRONT_ENDS = 4
WARM_UP = 0.2
"""Of the time, which is not counted: the engines begin empty."""
LATE_AT_MOST = 0.01
"""Of the reports may have left later than they should, by more than a step, before the table says so."""
_MARKS = {"num_waiting_reqs": 0xABCD, "num_running_reqs": 0xABCE, "step_counter": 0xABCF}
_KV_MARK = 0.123456789


@dataclass
class Outcome:
    """What one run came to."""

    waits: list[float] = field(default_factory=list)
    """Seconds from a request's arrival until it ran."""
    uneven: list[float] = field(default_factory=list)
    """At each look the requests of the engine with the most, over the mean."""
    late: int = 0
    """Steps that began later than the one after them should have."""
    steps: int = 0


class Template:
    """An engine's report of the size that vLLM's have, into which counts are stamped."""

    def __init__(self, engine: int) -> None:
        marked = frames.marked_report(engine, {**_MARKS, "kv_cache_usage": _KV_MARK, "current_wave": 0})
        self._frame = bytearray(marked)
        self._at = [marked.index(struct.pack(">BH", 0xCD, mark)) + 1 for mark in _MARKS.values()]
        self._kv_at = marked.index(struct.pack(">d", _KV_MARK))

    def stamped(self, waiting: int, running: int, step: int, kv_cache_usage: float) -> bytes:
        """The frame with these numbers."""
        for at, value in zip(self._at, (waiting, running, step), strict=True):
            struct.pack_into(">H", self._frame, at, value)
        struct.pack_into(">d", self._frame, self._kv_at, kv_cache_usage)
        return bytes(self._frame)


class World:
    """Engines and front-ends around one coordinator."""

    def __init__(self, running: Running, engines: int, rate: int, stack: ExitStack, *, deaf: bool) -> None:
        """`rate` reports a second in all; `deaf`: front-ends take no notice of what is published."""
        self._step_s = engines / rate
        tokens = int(SLOTS * LONG_S[1] / self._step_s) + SLOTS
        self._schedulers = [Scheduler(SLOTS, tokens) for _ in range(engines)]
        self._templates = [Template(engine) for engine in range(engines)]
        context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context())
        context.linger = 0
        context.max_sockets = max(1023, engines * 2)
        self._outputs = [stack.enter_context(context.socket(zmq.PUSH)) for _ in range(engines)]
        for output in self._outputs:
            output.connect(running.back_output)
        self._front_ends = [
            stack.enter_context(
                FrontendClient(
                    running.front_publish,
                    dialect=frames.DIALECT,
                    engine_count=engines,
                    client_index=index,
                    client_count=FRONT_ENDS,
                )
            )
            for index in range(FRONT_ENDS)
        ]
        self._deaf = deaf
        self._chosen: dict[int, tuple[FrontendClient, int]] = {}
        self._queues: list[deque[float]] = [deque() for _ in range(engines)]
        self._outcome = Outcome()

    def run(self, wanted: Sequence[Request], seconds: float) -> Outcome:
        """Let all requests arrive, and take a step whenever one is due."""
        self._outputs[0].send(frames.start_wave(0, 0))
        self._step(0.0, counted=False)
        for front_end in self._front_ends:
            front_end.wait_update(10)  # it is heard, and hears
        began, todo, numbers = time.monotonic(), deque(wanted), count()
        for step in range(1, int(seconds / self._step_s)):
            due = step * self._step_s
            while todo and todo[0].at < due:
                _sleep_until(began + todo[0].at)
                self._arrive(next(numbers), todo.popleft())
            self._outcome.late += time.monotonic() > began + due + self._step_s
            _sleep_until(began + due)
            self._step(due, counted=due > WARM_UP * seconds)
        return self._outcome

    def _arrive(self, number: int, request: Request) -> None:
        front_end = self._front_ends[number % FRONT_ENDS]
        if not self._deaf:
            front_end.update()
        engine = front_end.pick_engine()
        self._chosen[number] = front_end, engine
        self._schedulers[engine].add(Job(b"", number, 0, max(1, round(request.takes / self._step_s))))
        self._queues[engine].append(request.at)

    def _step(self, now: float, *, counted: bool) -> None:
        outcome = self._outcome
        outcome.steps += 1
        loads = []
        for engine, scheduler in enumerate(self._schedulers):
            scheduler.admit()
            waiting, running = scheduler.counts
            while len(self._queues[engine]) > waiting:
                arrived = self._queues[engine].popleft()
                if counted:
                    outcome.waits.append(now - arrived)
            for job in scheduler.step():
                front_end, chosen = self._chosen.pop(job.id)
                front_end.request_finished(chosen)
            waiting, running = scheduler.counts
            frame = self._templates[engine].stamped(waiting, running, outcome.steps, scheduler.kv_cache_usage)
            self._outputs[engine].send(frame)
            loads.append(waiting + running)
        if counted and any(loads):
            outcome.uneven.append(max(loads) / fmean(loads))


def _sleep_until(moment: float) -> None:
    while (left := moment - time.monotonic()) > 0:
        time.sleep(left)


def once(subject: Subject, settings: Settings, rate: int, seed: int, *, deaf: bool = False) -> Outcome:
    """One run of one coordinator."""
    arrivals = UTILISATION * settings.engines * SLOTS / MEAN_S
    wanted = list(requests(arrivals, settings.routing_seconds, seed))
    with ExitStack() as stack:
        running = stack.enter_context(coordinator(subject, settings.engines))
        world = World(running, settings.engines, rate, stack, deaf=deaf)
        return world.run(wanted, settings.routing_seconds)


class Rows:
    """The figures of one rate of reports."""

    def __init__(self, name: str) -> None:
        self.figures = [
            Figure(f"waiting time, {name}: p50", "ms", "", 0),
            Figure(f"waiting time, {name}: p99", "ms", "", 0),
            Figure(f"requests at the fullest engine over the mean, {name}", "", "", 2),
        ]

    def add(self, subject: Subject, outcome: Outcome) -> None:
        """Take in one run."""
        waits = [wait * 1000 for wait in outcome.waits]
        values = percentile(waits, 0.5), percentile(waits, 0.99), fmean(outcome.uneven)
        for figure, value in zip(self.figures, values, strict=True):
            figure.add(subject, value)
            if outcome.late > LATE_AT_MOST * outcome.steps:
                figure.note[subject] = "(the machine was too busy for this rate)"


def measure(settings: Settings) -> list[Figure]:
    """Three rows a rate, and three for front-ends that hear nothing."""
    rows = {rate: Rows(f"{rate:,} reports/s") for rate in settings.routing_rates}
    silence = Rows("front-ends that hear no load")
    for run in range(settings.runs):
        for rate in settings.routing_rates:
            for subject in settings.subjects():
                rows[rate].add(subject, once(subject, settings, rate, seed=run))
        silence.add(Subject.OURS, once(Subject.OURS, settings, settings.routing_rates[0], seed=run, deaf=True))
    return [figure for each in (*rows.values(), silence) for figure in each.figures]


if __name__ == "__main__":
    print(table(measure(settings_from(options(__doc__).parse_args()))))
