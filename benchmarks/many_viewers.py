"""A thousand viewers of engines that report all the time: what they get, what they cost, and if none of them reads.

START is timed with none, some and all of them attached, in turns, so that a busy machine shows in all three alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import zmq

from benchmarks.procfs import cpu_seconds, resident_mb, socket_memory_mb
from benchmarks.report import Figure, Settings, options, settings_from, table
from benchmarks.sender import Pace, sender
from benchmarks.start_latency import Notices
from benchmarks.subjects import Running, Subject, coordinator
from benchmarks.viewers import Audience, Taken, viewers

REPORTS_PER_S = 1_000
"""Enough for news in every one of the page's updates."""
FOR_EVER_S = 86_400.0
PATIENCE = 10
"""How many times as long as a rate is held we wait for viewers who never read to be disconnected."""
LOOK_INTERVAL_S = 0.25


def measure(settings: Settings) -> list[Figure]:
    """START with more and more viewers; the fewest updates that one got; memory, with those who never read too."""
    crowds = (0, settings.viewers, settings.crowd)
    starts = {
        (crowd, percent): Figure(f"START after a new-request notice, {crowd:,} viewers: p{percent}", "ms", digits=2)
        for crowd in crowds
        for percent in (50, 99)
    }
    many = f"{settings.crowd:,} viewers"
    updates = Figure(f"{many}: updates a second of the one with the fewest", "/s")
    busy = Figure(f"{many}: the coordinator's CPU", "% of a core", digits=0)
    memory = Figure(f"{many}: resident memory", "MB")
    with _reporting(settings.engines) as (running, notices):
        for _ in range(settings.runs):
            for crowd in crowds:
                with viewers(running.http_url or "", crowd) as audience:
                    took = sorted(notices.latencies(settings.notices))
                    for percent in (50, 99):
                        starts[crowd, percent].add(Subject.OURS, took[len(took) * percent // 100] * 1000)
                    if crowd == settings.crowd:
                        worked = cpu_seconds(running.pid)
                        updates.add(Subject.OURS, _fewest_updates(audience, settings.seconds))
                        busy.add(Subject.OURS, (cpu_seconds(running.pid) - worked) / settings.seconds * 100)
                        memory.add(Subject.OURS, resident_mb(running.pid))
        return [*starts.values(), updates, busy, memory, *_never_reading(running, settings)]


@contextmanager
def _reporting(engines: int) -> Iterator[tuple[Running, Notices]]:
    with ExitStack() as stack:
        running = stack.enter_context(coordinator(Subject.OURS, engines))
        context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context())
        notices = Notices(running, context)
        stack.callback(notices.close)
        peers = stack.enter_context(sender(running.back_output, running.front_publish, engines))
        peers.begin(Pace(REPORTS_PER_S, FOR_EVER_S, start=False))
        yield running, notices


def _fewest_updates(audience: Audience, seconds: float) -> float:
    """Messages a second of the viewer that got fewest: between waves, nearly every message is a snapshot."""
    before, began = audience.taken(), time.monotonic()
    time.sleep(seconds)
    after, took = audience.taken(), time.monotonic() - began
    if any(viewer.closed_at is not None for viewer in after):
        raise RuntimeError("a viewer who reads was disconnected")
    return min(b.messages - a.messages for a, b in zip(before, after, strict=True)) / took


def _never_reading(running: Running, settings: Settings) -> list[Figure]:
    who = f"{settings.crowd:,} viewers who never read"
    memory = {when: Figure(f"{who}: resident memory {when}", "MB") for when in ("before", "at most", "after")}
    closed = Figure(f"{who}: all disconnected after", "s", "≤ 30")
    kernel = Figure(f"{who}: the kernel's memory for sockets at most", "MB")
    memory["before"].add(Subject.OURS, resident_mb(running.pid))
    most, sockets, began = 0.0, 0.0, time.monotonic()
    with viewers(running.http_url or "", settings.crowd, reading=False) as audience:
        while True:
            most, sockets = max(most, resident_mb(running.pid)), max(sockets, socket_memory_mb())
            taken = audience.taken()
            left = sum(viewer.closed_at is None for viewer in taken)
            if not left or time.monotonic() > began + PATIENCE * settings.seconds:
                break
            time.sleep(LOOK_INTERVAL_S)
    memory["at most"].add(Subject.OURS, most)
    kernel.add(Subject.OURS, sockets)
    memory["after"].add(Subject.OURS, resident_mb(running.pid))
    closed.add(Subject.OURS, _last_closed(taken) - began)
    if left:
        closed.note[Subject.OURS] = f"and {left} of them not"
    return [*memory.values(), kernel, closed]


def _last_closed(taken: list[Taken]) -> float:
    return max(time.monotonic() if viewer.closed_at is None else viewer.closed_at for viewer in taken)


if __name__ == "__main__":
    print(table(measure(settings_from(options(__doc__).parse_args()))))
