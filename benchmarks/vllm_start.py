"""Starts the coordinator that vLLM would start, and prints what that took as JSON. Run by a Python that has vLLM.

Usage: python -m benchmarks.vllm_start ours|vLLM
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import zmq
from vllm.config import ParallelConfig
from vllm.v1.engine import utils

from benchmarks.procfs import descendants, resident_mb
from benchmarks.start_up import use_the_page
from benchmarks.subjects import EnginePeers, Subject
from dp_coordinator.vllm import register

ENGINES = 2
TIMEOUT_S = 120.0


def measure(endpoints: Path | None) -> dict[str, object]:
    """Start it, wait for READY at two engines, look at the page if there is one, end it."""
    config = ParallelConfig(
        data_parallel_size=ENGINES, data_parallel_size_local=ENGINES, data_parallel_master_ip="127.0.0.1"
    )
    began = time.monotonic()
    coordinator = utils.DPCoordinator(config, enable_wave_coordination=True)
    bound = time.monotonic()
    with zmq.Context() as context:
        engines = EnginePeers(context, coordinator.get_engine_socket_addresses()[0], ENGINES)
        if set(engines.receive_on_all(TIMEOUT_S)) != {b"READY"}:
            raise RuntimeError("expected READY")
        ready = time.monotonic()
        if endpoints is not None:
            use_the_page(json.loads(endpoints.read_text())["http_url"])
        pids = [coordinator.proc.pid, *descendants(coordinator.proc.pid)]
        memory = [resident_mb(pid) for pid in pids]
        engines.close()
    coordinator.shutdown()
    return {"bound_s": bound - began, "ready_s": ready - began, "resident_mb": memory}


def main(subject: Subject) -> None:
    """Put the plugin in place, or leave vLLM's own."""
    with tempfile.TemporaryDirectory() as folder:
        endpoints = Path(folder) / "endpoints.json"
        if subject is Subject.OURS:
            os.environ["DP_COORDINATOR_ENDPOINTS_FILE"] = str(endpoints)
        register()  # does nothing unless DP_COORDINATOR says so
        if utils.DPCoordinator.__module__.startswith("vllm.") is (subject is Subject.OURS):
            raise RuntimeError(f"{utils.DPCoordinator} is in place")
        print(json.dumps(measure(endpoints if subject is Subject.OURS else None)))


if __name__ == "__main__":
    main(Subject(sys.argv[1]))
