"""The sessions in docs/operating.md and docs/routers.md, run as written against a paused demo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
WRITTEN = "".join((DOCS / name).read_text() for name in ("operating.md", "routers.md"))
BLOCKS = re.findall(r"<!-- run -->\n```sh\n(.*?)```", WRITTEN, re.DOTALL)
ENDED_BY_TIMEOUT = 124


@pytest.fixture(scope="module")
def demo() -> Iterator[Any]:
    command = [sys.executable, "-m", "dp_coordinator", "demo", "--no-traffic", "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(m[0] for line in lines if (m := re.search(r"http://127\.0\.0\.1:\d+", line)))
        subprocess.run(
            ["curl", "-sf", "--retry", "60", "--retry-delay", "1", "--retry-all-errors", f"{url}/readyz"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        yield url
        process.terminate()


def commands() -> Any:
    joined = "".join(BLOCKS).replace("\\\n", "")
    lines = [line for line in joined.splitlines() if line]
    session = "\n".join(
        line for line in lines if line.startswith(("wave=", "action=")) or "/waves -H" in line or "$action" in line
    )
    return [line for line in lines if line not in session] + [session]


@pytest.mark.parametrize("command", commands())
def test_command(command: str, demo: Any) -> None:
    script = command.replace("http://127.0.0.1:8080", demo).replace("ws://127.0.0.1:8080", demo.replace("http", "ws"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        check=False,
        env=os.environ | {"PATH": path, "DP_COORDINATOR_URL": demo},
        capture_output=True,
        text=True,
        timeout=60,
    )
    expected = (0, ENDED_BY_TIMEOUT) if command.startswith("timeout") else (0,)
    assert result.returncode in expected, result.stdout + result.stderr
    assert result.stdout.strip()


def test_nothing_is_left_out() -> None:
    assert len(commands()) >= 16
