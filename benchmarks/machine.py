"""Where and when the figures were measured."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

LOAD_BEFORE = os.getloadavg()[0]
"""Read when this is imported: afterwards the benchmarks are the load."""


def describe() -> str:
    """One line: cores, CPU model, kernel, Python, load before the run, date."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores, {_cpu_model()}, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, "
        f"load average before the run {LOAD_BEFORE:.1f}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
