"""Runs `dp-coordinator` as a real process, with a clean environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

COMMAND = (sys.executable, "-W", "error", "-m", "dp_coordinator")
TIMEOUT = 60


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables without any of dp-coordinator's, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DP_COORDINATOR_")}
    return {**kept, "COLUMNS": "120", **(extra or {})}


def run(*arguments: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The finished command with its exit code, stdout and stderr."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@contextmanager
def running(*arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """The command while it runs; ended by SIGINT, if it has not ended yet."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(TIMEOUT)
                except subprocess.TimeoutExpired:
                    process.kill()


def announced(process: subprocess.Popen[str]) -> dict[str, str]:
    """What `serve` prints once it is bound: name -> address."""
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("dp-coordinator "), (first, rest(process.stderr) if not first else "")
    lines = [process.stdout.readline().split(maxsplit=1) for _ in range(4)]
    return {name: value.strip() for name, value in lines}


def rest(stream: IO[str] | None) -> str:
    """What is left to read."""
    assert stream is not None
    return stream.read()


def load(file: Path) -> Any:
    """The JSON in a file."""
    return json.loads(file.read_text())
