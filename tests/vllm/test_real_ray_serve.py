"""`build_dp_openai_app` of real Ray Serve LLM, with real vLLM, on our coordinator. Run by `make test-vllm`.

Ray is told of accelerators that are none, so that the engines' arguments are looked at in a task of their own, as on a
machine with GPUs: there vLLM's plugins are loaded, and in the replica, which builds the coordinator, they are not.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.vllm import ray_nodes
from tests.vllm.deployment import HOME, HTTP, MOE, QUIET, START_TIMEOUT, free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.vllm
APP = Path(__file__).parent / "ray_serve_app.py"
CALLBACK = "dp_coordinator.vllm.ray_serve:UseDPCoordinator"


class App:
    def __init__(self, process: subprocess.Popen[bytes], log: Path, page: int, port: int) -> None:
        self.process, self.log = process, log
        self._page, self._port = page, port

    def get(self, path: str) -> Any:
        return HTTP.get(f"http://127.0.0.1:{self._page}/api/v1/{path}").json()

    def runs(self) -> bool:
        assert self.process.poll() is None, f"the application ended with {self.process.returncode}"
        said = self.log.read_text(errors="replace")
        assert "EngineCore failed to start" not in said
        return "the application runs" in said

    def complete(self, tokens: int) -> None:
        asked = {"model": "tiny", "prompt": "one two", "max_tokens": tokens, "ignore_eos": True}
        answer = HTTP.post(f"http://127.0.0.1:{self._port}/v1/completions", json=asked, timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] == tokens


@contextmanager
def application(callback: str) -> Iterator[App]:
    with ray_nodes.running(1) as nodes:
        page, port, log = free_port(), free_port(), nodes.folder / "application.log"
        command = [str(HOME / "env/bin/python"), str(APP), str(HOME / "models" / MOE), f"127.0.0.1:{page}", str(port)]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("DP_COORDINATOR")}
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, callback],
                env=variables | QUIET | nodes.environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            yield App(process, log, page, port)
        finally:
            process.kill()
            process.wait(60)


def test_the_replica_of_rank_0_builds_ours() -> None:
    with application(CALLBACK) as app:
        wait_until(app.runs, "the application runs", 2 * START_TIMEOUT)  # Ray starts some ten processes more
        state = app.get("state")
        assert (state["engine_count"], state["engines_subscribed"], state["ready"]) == (2, 2, True)
        assert state["front_ends"] == 2, "each replica is one"
        assert state["wave_coordination"] is True
        before = state["current_wave"]
        for _ in range(4):
            app.complete(16)
        wait_until(lambda: app.get("state")["current_wave"] > before, "waves end")
        fronts = [peer["name"] for peer in app.get("peers")["peers"] if peer["kind"] == "front-end"]
        assert len(fronts) == 2
        assert all(re.fullmatch(r"127\.0\.0\.\d:\d+", name) for name in fronts), "over TCP, by address"
