"""Records a run of real vLLM: `python -m tests.vllm.recorder.capture --help`.

Serves the model with two engines and one API server, sends some completions at once with idle pauses between, stops,
and writes what its coordinator took and sent as one gzipped JSON file for tests/wire/golden.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.vllm.deployment import QUIET, SMALL, free_port
from tests.vllm.recorder.convert import sequence

HOOK = Path(__file__).parent / "hook"
START_TIMEOUT_S = 300.0


def main() -> None:
    """LogEvent one run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the run, for example v0.31.0_moe_1api; the file is NAME.json.gz")
    parser.add_argument("--vllm", type=Path, required=True, help="the vllm command of the environment to run")
    parser.add_argument("--model", type=Path, required=True, help="a small model that vLLM takes for MoE")
    parser.add_argument("--ours", action="store_true", help="on our coordinator, with the plugin of that environment")
    parser.add_argument("--kills", type=int, default=0, help="kill -9 our worker so often, busy and paused in turn")
    parser.add_argument("--rounds", type=int, default=5, help="of completions at once, a pause after each")
    parser.add_argument("--about", required=True, help="one line for whoever reads the file")
    parser.add_argument("--into", type=Path, default=Path("tests/wire/golden"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _serving(given, folder) as base_url:
            _drive(base_url, folder, given)
        run = sequence(folder / "record", given.about)
    target = given.into / f"{given.name}.json.gz"
    text = json.dumps({"sequences": {given.name: run}})
    target.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{target}: {run['total']} messages, {target.stat().st_size} bytes")


@contextmanager
def _serving(given: argparse.Namespace, folder: Path) -> Iterator[str]:
    port = free_port()
    for part in ("record", "ipc"):
        (folder / part).mkdir()
    environment = os.environ | QUIET
    environment |= {"VLLM_RPC_BASE_PATH": str(folder / "ipc"), "DP_COORDINATOR_RECORD": str(folder / "record")}
    environment |= {"PYTHONPATH": str(HOOK)}
    if given.ours:
        environment |= {"DP_COORDINATOR": "1", "DP_COORDINATOR_HTTP": f"127.0.0.1:{free_port()}"}
        (folder / "http").write_text(environment["DP_COORDINATOR_HTTP"])
    command = [given.vllm, "serve", given.model, "--served-model-name", "tiny", "--host", "127.0.0.1"]
    command += ["--port", port, *SMALL, "--api-server-count", 1]
    with (folder / "log").open("wb") as log:
        arguments = [str(word) for word in command]
        server = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_healthy(server, f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        except BaseException:
            print((folder / "log").read_text(errors="replace")[-8000:], file=sys.stderr)
            raise
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)  # its own session: only what it started
                server.wait()


def _wait_healthy(server: subprocess.Popen[bytes], base_url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("vLLM did not start")
        try:
            if httpx.get(f"{base_url}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)


def _drive(base_url: str, folder: Path, given: argparse.Namespace) -> None:
    """Rounds of completions; ours is killed while the first runs, after the second, while the third runs, ..."""
    worker = _Worker((folder / "http").read_text()) if given.ours else None
    with httpx.Client(base_url=base_url, timeout=120) as client, ThreadPoolExecutor(8) as pool:
        for number in range(given.rounds):
            time.sleep(2)
            kill = worker if number < given.kills else None
            lengths = [8, 40, 24, 64, 16] if number % 2 else [120, 160] if kill else [12, 20]
            completions = [pool.submit(_complete, client, length) for length in lengths]
            if kill is not None and number % 2 == 0:
                kill.wait(lambda state: state["engines_running"])
                kill.kill()
            for completion in completions:
                assert completion.result() > 0
            if kill is not None and number % 2:
                kill.wait(lambda state: not state["engines_running"])
                kill.kill()
        time.sleep(2)


def _complete(client: httpx.Client, length: int) -> int:
    body = {"model": "tiny", "prompt": "hello world", "max_tokens": length, "ignore_eos": True, "temperature": 0}
    response = client.post("/v1/completions", json=body)
    response.raise_for_status()
    return int(response.json()["usage"]["completion_tokens"])


class _Worker:
    """Our coordinator's process, seen through REST."""

    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=f"http://{address}")

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                state: dict[str, Any] = self._client.get("/api/v1/state").json()
            except httpx.TransportError:
                continue
            if condition(state):
                return state
            time.sleep(0.01)
        raise RuntimeError("our coordinator did not come to that state within 30 s")

    def kill(self) -> None:
        """SIGKILL; returns when the next one has all engines back."""
        before = self.wait(lambda state: True)["pid"]
        os.kill(before, signal.SIGKILL)
        self.wait(lambda state: state["pid"] != before and state["recovery"]["phase"] != "rejoining")


if __name__ == "__main__":
    main()
