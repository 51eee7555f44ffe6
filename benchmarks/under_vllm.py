"""Start-up and memory as vLLM starts its coordinator: by the class that `vllm serve` builds, in a process with vLLM.

Ours is the plugin's: a supervisor and its worker, whose page is looked at before its memory is. vLLM's is its own. Two
engines subscribe as soon as the addresses are known.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, Settings, options, settings_from, table
from benchmarks.subjects import Subject, vllm_python

TIMEOUT_S = 180.0
_ROOT = Path(__file__).parent.parent


def measure(settings: Settings) -> list[Figure]:
    """Rows for start-up and memory; none without vLLM, whose plugin is what is measured."""
    python = vllm_python()
    if Subject.VLLM not in settings.subjects() or python is None:
        return []
    bound = Figure("under vLLM: start until vLLM has the addresses", "s", "≤ 1 s", 2)
    ready = Figure("under vLLM: start until both engines have READY", "s", "≤ 1 s", 2)
    memory = Figure("under vLLM: resident memory, supervisor included", "MB", "≤ 80 MB", 0)
    for _ in range(settings.runs):
        for subject in settings.subjects():
            told = _run(python, subject)
            bound.add(subject, told["bound_s"])
            ready.add(subject, told["ready_s"])
            memory.add(subject, sum(told["resident_mb"]))
    return [bound, ready, memory]


def _run(python: str, subject: Subject) -> dict[str, Any]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(_ROOT / "backend"), str(_ROOT))),
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # what `vllm serve` sets
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "DP_COORDINATOR": "1" if subject is Subject.OURS else "0",
        "DP_COORDINATOR_HTTP": "127.0.0.1:0",
    }
    command = [python, "-m", "benchmarks.vllm_start", subject.value]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=_ROOT
    )
    if done.returncode:
        raise RuntimeError(f"under vLLM, {subject.value}: exit code {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


if __name__ == "__main__":
    print(table(measure(settings_from(options(__doc__).parse_args()))))
