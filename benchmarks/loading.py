"""START in the two seconds after READY, and after a restart, while the web server is being loaded beside the loop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial

import zmq

from benchmarks.frames import DIALECT
from benchmarks.report import Figure, Settings, options, settings_from, table
from benchmarks.start_latency import TIMEOUT_S, Notices
from benchmarks.subjects import EnginePeers, Running, Subject, coordinator
from dp_coordinator.handle import DPCoordinator

ENGINES = 8
WITHIN_S = 2.0
WANTED = (("p50", ""), ("p99", "≤ 2 ms"), ("the worst", ""))


def measure(settings: Settings) -> list[Figure]:
    """Of all starts together, and of all restarts: a single one has too few STARTs for a percentile."""
    fresh = {subject: _of_all(settings.runs, partial(_after_start, subject)) for subject in settings.subjects()}
    restarted = {Subject.OURS: _of_all(settings.runs, _after_restart)}
    return [*_figures("READY", fresh), *_figures("a restart", restarted)]


def _of_all(runs: int, measured: Callable[[], list[float]]) -> list[float]:
    return sorted(took for _ in range(runs) for took in measured())


def _figures(event: str, took: dict[Subject, list[float]]) -> list[Figure]:
    figures = [Figure(f"START in the 2 s after {event}: {name}", "ms", wanted, 2) for name, wanted in WANTED]
    for subject, seconds in took.items():
        ranked = (seconds[len(seconds) // 2], seconds[len(seconds) * 99 // 100], seconds[-1])
        for figure, value in zip(figures, ranked, strict=True):
            figure.add(subject, value * 1000)
    return figures


def _after_start(subject: Subject) -> list[float]:
    with coordinator(subject, ENGINES) as running, zmq.Context() as context:
        return _within(Notices(running, context))


def _after_restart() -> list[float]:
    with (
        DPCoordinator(ENGINES, supervised=True, log_level="error", dialect=DIALECT, http="127.0.0.1:0") as ours,
        zmq.Context() as context,
    ):
        back_publish, back_output = ours.get_engine_socket_addresses()
        engines = EnginePeers(context, back_publish, ENGINES)
        running = Running(
            subject=Subject.OURS,
            pid=ours.worker_pid(),
            front_publish=ours.get_stats_publish_address(),
            back_output=back_output,
            back_publish=back_publish,
            http_url=ours.http_url,
            engines=engines,
            ready_after_s=0.0,
        )
        try:
            engines.receive_on_all(TIMEOUT_S)
            os.kill(ours.worker_pid(), signal.SIGKILL)
            notices = Notices(running, context)
            notices.go_on_after_restart()
            return _within(notices)
        finally:
            engines.close()


def _within(notices: Notices) -> list[float]:
    took: list[float] = []
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        took += notices.latencies(1)
    notices.close()
    return took


if __name__ == "__main__":
    print(table(measure(settings_from(options(__doc__).parse_args()))))
