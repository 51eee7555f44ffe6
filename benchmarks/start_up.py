"""Time from spawning the process until every engine has READY, and memory then, with the web server in ours."""

from __future__ import annotations

import urllib.request

from benchmarks.procfs import cpu_seconds, resident_mb
from benchmarks.report import Figure, Settings, options, settings_from, table
from benchmarks.subjects import coordinator


def measure(settings: Settings) -> list[Figure]:
    """Rows for time, CPU time (which a busy machine changes less) and memory."""
    ready = Figure(f"start to READY, {settings.engines} engines", "s", "≤ 1 s", 2)
    cpu = Figure("CPU time from start to READY", "s", "", 2)
    memory = Figure("resident memory after start-up, with the web server", "MB", "≤ 80 MB", 0)
    for _ in range(settings.runs):
        for subject in settings.subjects():
            with coordinator(subject, settings.engines) as running:
                ready.add(subject, running.ready_after_s)
                cpu.add(subject, cpu_seconds(running.pid))
                if running.http_url is not None:
                    use_the_page(running.http_url)
                memory.add(subject, resident_mb(running.pid))
    return [ready, cpu, memory]


def use_the_page(http_url: str) -> None:
    """Ask for what the page asks for, so that what serves it is there."""
    for path in ("/api/v1/state", "/metrics", "/readyz"):
        with urllib.request.urlopen(http_url + path, timeout=10) as response:
            response.read()


if __name__ == "__main__":
    print(table(measure(settings_from(options(__doc__).parse_args()))))
