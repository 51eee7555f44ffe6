"""Each benchmark runs, in tiny sizes and without vLLM, and gives its rows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.routing.haproxy import BALANCES
from benchmarks.routing.proxy import HAPROXY

ROOT = Path(__file__).parents[2]
ROWS = {
    "ingestion": 4,
    "publication_gaps": 2,
    "start_latency": 5,
    "many_viewers": 14,
    "start_up": 3,
    "loading": 6,
    "rejoining": 2,
    "fresh_load": 6,
}


def run(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ROWS)
def test_benchmark_gives_a_value_in_every_row(name: str) -> None:
    printed = run("--smoke", "--only", name, DP_COORDINATOR_BENCH_VLLM_PYTHON="")
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == ROWS[name]
    for _, ours, vllm, ratio, _ in rows:
        assert ours.lstrip("-")[0].isdigit()  # of so few reports what is taken off may be more than they cost
        assert (vllm, ratio) == ("not installed", "-")


@pytest.mark.skipif(HAPROXY is None, reason="no HAProxy here: `make setup` installs it where it can")
def test_every_way_to_balance_gets_a_row() -> None:
    command = [sys.executable, "-m", "benchmarks.routing.haproxy", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(BALANCES)
    assert {failed for *_, failed in rows} == {"0 |"}


def test_soak_names_first_and_last_memory() -> None:
    row = run("--soak", "0.02").splitlines()[-1].split(" | ")
    assert all(float(cell) > 1 for cell in row[1:5])


def test_without_vllm_there_is_no_comparison_to_make() -> None:
    command = [sys.executable, "-m", "benchmarks", "--need-vllm", "--only", "under_vllm"]
    environment = os.environ | {"DP_COORDINATOR_BENCH_VLLM_PYTHON": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "DP_COORDINATOR_BENCH_VLLM_PYTHON" in done.stderr.splitlines()[-1]
    assert done.stdout == ""
