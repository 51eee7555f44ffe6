"""Resident memory of the coordinator while `dp-coordinator demo` runs."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import machine
from benchmarks.procfs import command_line, descendants, resident_mb
from benchmarks.viewers import viewers

SAMPLE_INTERVAL_S = 5.0
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
VIEWERS = 3
_ROOT = Path(__file__).parent.parent


def soak(minutes: float) -> str:
    """Run the demo with a few viewers for so many minutes; a table of what its coordinator's memory did."""
    with _demo() as (demo, url), viewers(url, VIEWERS):
        coordinator = _coordinator(demo)
        samples = list(_samples(demo, coordinator, minutes * 60))
    half = samples[len(samples) // 2]
    return "\n".join(
        (
            f"Measured on {machine.describe()}: `dp-coordinator demo` with {VIEWERS} viewers for {minutes:g} minutes.",
            "",
            "| coordinator's resident memory | first | half way | last | most | wanted |",
            "|---|---|---|---|---|---|",
            f"| MB | {samples[0]:.1f} | {half:.1f} | {samples[-1]:.1f} | {max(samples):.1f} | ≤ 80, flat |",
        )
    )


def _samples(demo: subprocess.Popen[str], coordinator: int, seconds: float) -> Iterator[float]:
    interval = min(SAMPLE_INTERVAL_S, seconds / 4)
    until = time.monotonic() + seconds
    yield resident_mb(coordinator)
    while time.monotonic() < until:
        time.sleep(interval)
        if demo.poll() is not None:
            raise RuntimeError(f"the demo ended by itself with exit code {demo.returncode}")
        yield resident_mb(coordinator)


@contextmanager
def _demo() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demo, and the address of its page."""
    command = [sys.executable, "-u", "-m", "dp_coordinator", "demo", "--http", "127.0.0.1:0"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=_ROOT)
    try:
        yield demo, _page(demo)
    finally:
        demo.send_signal(signal.SIGINT)
        try:
            # Also reads on, so that the demo is not held up by a full pipe.
            demo.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            demo.kill()
            demo.communicate()


def _page(demo: subprocess.Popen[str]) -> str:
    """Read the demo's output until it names the page's address."""
    assert demo.stdout is not None
    said = []
    for line in demo.stdout:
        said.append(line)
        for word in line.split():
            if word.startswith("http://"):
                return word.rstrip("/.,")
    raise RuntimeError(f"the demo ended without naming its page: {''.join(said)}")


def _coordinator(demo: subprocess.Popen[str]) -> int:
    found = [pid for pid in descendants(demo.pid) if "dp_coordinator.child" in command_line(pid)]
    if len(found) != 1:
        raise RuntimeError(f"expected one coordinator process below the demo, found {len(found)}")
    return found[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    print(soak(parser.parse_args().minutes))
