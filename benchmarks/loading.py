"""START in the two seconds after READY, while the web server is being loaded beside the loop."""

from __future__ import annotations

import time

import zmq

from benchmarks.report import Figure, Settings, options, settings_from, table
from benchmarks.start_latency import Notices
from benchmarks.subjects import coordinator

ENGINES = 8
WITHIN_S = 2.0


def measure(settings: Settings) -> list[Figure]:
    """Of all starts together: a single one has too few STARTs for a percentile."""
    what = "START in the 2 s after READY"
    median, late, worst = (Figure(f"{what}: {name}", "ms", wanted, 2) for name, wanted in WANTED)
    for subject in settings.subjects():
        took: list[float] = []
        for _ in range(settings.runs):
            with coordinator(subject, ENGINES) as running, zmq.Context() as context:
                notices = Notices(running, context)
                until = time.monotonic() + WITHIN_S
                while time.monotonic() < until:
                    took += notices.latencies(1)
                notices.close()
        took.sort()
        for figure, value in ((median, took[len(took) // 2]), (late, took[len(took) * 99 // 100]), (worst, took[-1])):
            figure.add(subject, value * 1000)
    return [median, late, worst]


WANTED = (("p50", ""), ("p99", "≤ 2 ms"), ("the worst", ""))

if __name__ == "__main__":
    print(table(measure(settings_from(options(__doc__).parse_args()))))
