"""CPU per stats report and reports a second, when a backlog of reports of real size waits.

The coordinator is stopped (SIGSTOP) while a backlog is queued, so that the sender's Python is idle while it works. The
backlogs are small and many: one of a hundred megabytes would measure page faults. What it costs to make sure that all
was consumed is measured by doing that alone, and taken off.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from benchmarks import frames
from benchmarks.procfs import cpu_seconds
from benchmarks.report import Figure, Settings, options, settings_from, table
from benchmarks.sender import Load, Sender, Settle, sender
from benchmarks.subjects import Running, coordinator
from tests.signals import stopped

SETTLE_TIMEOUT_S = 120.0
ROUNDS_PER_RUN = 5


def measure(settings: Settings) -> list[Figure]:
    """Rows for reports as captured and for those of a busy engine."""
    figures: list[Figure] = []
    for full in (False, True):
        size = len(frames.report(0, 0, frames.FIRST_STEP, full=full))
        cost = Figure(f"CPU per report of {size} bytes, {settings.engines} engines", "µs", "≤ 0.45 of vLLM's", 2)
        speed = Figure(f"reports of {size} bytes a second", "/s", "≥ twice vLLM's", 0)
        with ExitStack() as stack:
            pairs = []
            for subject in settings.subjects():
                running = stack.enter_context(coordinator(subject, settings.engines))
                peers = stack.enter_context(sender(running.back_output, running.front_publish, settings.engines))
                pairs.append((running, peers))
            for _ in range(settings.runs * ROUNDS_PER_RUN):
                for running, peers in pairs:
                    cpu, per_second = _once(running, peers, settings.steps, full)
                    cost.add(running.subject, cpu)
                    speed.add(running.subject, per_second)
        figures += [cost, speed]
    return figures


def _once(running: Running, peers: Sender, steps: int, full: bool) -> tuple[float, float]:
    with stopped(running.pid):
        reports = peers.do(Load(steps, full)).reports
        cpu_before = cpu_seconds(running.pid)
        began = time.monotonic()
    settled = peers.do(Settle(SETTLE_TIMEOUT_S))
    cpu_between = cpu_seconds(running.pid)
    again = peers.do(Settle(SETTLE_TIMEOUT_S))
    settling_cpu, settling_s = cpu_seconds(running.pid) - cpu_between, again.ended - again.began
    cpu, elapsed = cpu_between - cpu_before - settling_cpu, settled.ended - began - settling_s
    return cpu / reports * 1e6, reports / elapsed


if __name__ == "__main__":
    arguments = options(__doc__).parse_args()
    print(table(measure(settings_from(arguments))))
