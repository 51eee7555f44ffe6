"""How long `GET /api/v1/loads` takes, for 1,024 ranks that all report."""

from __future__ import annotations

import argparse
import http.client
import json
import time
from urllib.parse import urlsplit

from benchmarks import machine
from benchmarks.procfs import cpu_seconds
from benchmarks.routing.workload import percentile
from benchmarks.sender import Pace, sender
from benchmarks.subjects import Subject, coordinator


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=1024)
    parser.add_argument("--requests", type=int, default=500)
    told = parser.parse_args()
    with coordinator(Subject.OURS, told.ranks) as running:
        assert running.http_url is not None
        where = urlsplit(running.http_url)
        connection = http.client.HTTPConnection(where.netloc, timeout=30)
        with sender(running.back_output, running.front_publish, told.ranks) as peers:
            peers.do(Pace(rate=None, seconds=1.0))
            took: list[float] = []
            size, before = 0, cpu_seconds(running.pid)
            for _ in range(told.requests):
                began = time.monotonic()
                connection.request("GET", "/api/v1/loads")
                answer = connection.getresponse().read()
                took.append((time.monotonic() - began) * 1000)
                size = len(answer)
            cpu = (cpu_seconds(running.pid) - before) / told.requests * 1000
        reported = sum(each["running"] is not None for each in json.loads(answer)["loads"])
    print(f"Measured on {machine.describe()}.")
    asked = f"GET /api/v1/loads, {told.ranks} ranks of which {reported} reported, {size:,} bytes"
    answered = f"p50 {percentile(took, 0.5):.1f} ms, p99 {percentile(took, 0.99):.1f} ms until answered"
    print(f"{asked}: {answered}; {cpu:.1f} ms of the coordinator's CPU each")


if __name__ == "__main__":
    main()
