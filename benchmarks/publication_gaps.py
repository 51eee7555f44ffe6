"""The longest time between two load publications, as a front-end sees it, while engines report at a steady rate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise

import msgspec.msgpack
import zmq

from benchmarks.report import Figure, Settings, options, settings_from, table
from benchmarks.sender import Pace, Sender, Settle, SettleTimeoutError, sender
from benchmarks.subjects import Running, Subject, coordinator

SETTLE_TIMEOUT_S = 2.0


def measure(settings: Settings) -> list[Figure]:
    """One row a rate."""
    figures = {
        rate: Figure(f"longest gap between load publications, {_name(rate)}", "ms", "≤ 120 ms", 0)
        for rate in settings.rates
    }
    for _ in range(settings.runs):
        for subject in settings.subjects():
            for rate, gap in _gaps(subject, settings):
                figures[rate].add(subject, gap * 1000)
    return list(figures.values())


def _name(rate: int | None) -> str:
    return "overload (as fast as one process can send)" if rate is None else f"{rate:,} reports/s"


def _gaps(subject: Subject, settings: Settings) -> Iterator[tuple[int | None, float]]:
    """Each rate's longest gap in seconds; a coordinator that did not keep up is replaced before the next rate."""
    with ExitStack() as stack:
        pair: tuple[Running, Sender] | None = None
        for rate in settings.rates:
            if pair is None:
                running = stack.enter_context(coordinator(subject, settings.engines))
                peers = stack.enter_context(sender(running.back_output, running.front_publish, settings.engines))
                pair = running, peers
            yield rate, _longest_gap(*pair, Pace(rate, settings.seconds))
            try:
                pair[1].do(Settle(SETTLE_TIMEOUT_S))
            except SettleTimeoutError:
                pair = None
                stack.close()


def _longest_gap(running: Running, peers: Sender, pace: Pace) -> float:
    """Seconds; counts from the first report to the first publication and from the last publication to the end too."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, context.socket(zmq.SUB) as front_end:
        front_end.connect(running.front_publish)
        front_end.subscribe(b"")
        peers.begin(pace)
        until = time.monotonic() + pace.seconds + 0.5
        arrivals = list(_load_publications(front_end, until))
        sent = peers.result()
    during = [at for at in arrivals if sent.began < at < sent.ended]
    return max(after - before for before, after in pairwise([sent.began, *during, sent.ended]))


def _load_publications(front_end: zmq.Socket[bytes], until: float) -> Iterator[float]:
    while (left := until - time.monotonic()) > 0:
        if not front_end.poll(int(left * 1000) + 1):
            return
        if msgspec.msgpack.decode(front_end.recv())[0] is not None:
            yield time.monotonic()


if __name__ == "__main__":
    print(table(measure(settings_from(options(__doc__).parse_args()))))
