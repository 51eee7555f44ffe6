"""Real `vllm serve`, started with the plugin on, driven through its OpenAI API and watched through our REST."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import termios
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx

from benchmarks.ports import free_ports
from tests.waiting import wait_until

HOME = Path(os.environ.get("DP_COORDINATOR_VLLM_HOME") or "/nowhere")
START_TIMEOUT = 420.0
"""Seconds from `vllm serve` to its first answer: one to two minutes on two idle cores."""
MOE, DENSE = "tiny-fakemoe", "tiny-llama"
# float32: vLLM's bfloat16 kernels for the CPU die of SIGILL where a virtual machine does not grant the AMX that its
# processor has.
SMALL = [
    *("--load-format", "dummy", "--dtype", "float32", "--enforce-eager"),
    *("--max-model-len", "512", "--max-num-seqs", "8", "--max-num-batched-tokens", "512"),
    *("--data-parallel-size", "2", "--data-parallel-address", "127.0.0.1"),
]
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
}
T = TypeVar("T")
HTTP = httpx.Client(
    timeout=10,
    trust_env=False,
    verify=False,  # nothing here is https, and the certificates take tenths of a second to load
    limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
)
"""A connection for each request: it may reach any of several API servers, and any coordinator."""


def free_port() -> int:
    """A free port, after which another one is free: one `vllm serve` may want a port for each of two ranks."""
    return free_ports(2)[0]


class Node:
    """One `vllm serve`."""

    def __init__(
        self,
        model: str,
        arguments: Sequence[str],
        folder: Path,
        environment: dict[str, str],
        terminal: int | None = None,
    ) -> None:
        """`terminal`: run it with `nohup` and let it have this terminal as its own."""
        self.port = free_port()
        self.arguments = arguments
        self.log = folder / f"{self.port}.log"
        api = [] if "--headless" in arguments else ["--host", "127.0.0.1", "--port", str(self.port)]
        command = [str(HOME / "env/bin/vllm"), "serve", str(HOME / "models" / model), "--served-model-name", "tiny"]
        nohup = [] if terminal is None else ["nohup"]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*nohup, *command, *SMALL, *api, *arguments],
                stdin=terminal,
                preexec_fn=None if terminal is None else lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
                env=os.environ | QUIET | environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what a killed one leaves behind can be ended as a group
            )

    def said(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self.log.read_text(errors="replace"))

    def healthy(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"vllm serve ended with exit code {self.process.returncode}")
        return HTTP.get(f"http://127.0.0.1:{self.port}/health", timeout=5).status_code == 200

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.kill()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class Deployment:
    """One or several `vllm serve` that make up one data-parallel deployment; the first has the coordinator."""

    def __init__(self, model: str, *nodes: Sequence[str], terminal: int | None = None, **environment: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dpc-"))
        ours = {"DP_COORDINATOR": "1", "DP_COORDINATOR_HTTP": "127.0.0.1:0", "VLLM_RPC_BASE_PATH": str(self.folder)}
        clean = {name: "" for name in os.environ if name.startswith("DP_COORDINATOR_")}
        self.nodes = [Node(model, arguments, self.folder, clean | ours | environment, terminal) for arguments in nodes]
        self._pool = ThreadPoolExecutor(64)
        self.url = ""
        self.api_servers = 1

    def wait_ready(self) -> None:
        pattern = r"Dashboard: (http://\S+)"
        said = wait_until(
            lambda: self.nodes[0].said(pattern) if self._alive() else None, "the coordinator is up", START_TIMEOUT
        )
        self.url = said[1]
        for node in self.nodes:
            if "--headless" not in node.arguments:
                wait_until(node.healthy, "vLLM answers", START_TIMEOUT)
        wait_until(lambda: self.state()["ready"], "every engine has subscribed")

    def _alive(self) -> bool:
        for node in self.nodes:
            if node.process.poll() is not None:
                raise AssertionError(f"vllm serve ended with exit code {node.process.returncode}")
        return True

    # -- our side

    def get(self, path: str) -> Any:
        answer = HTTP.get(f"{self.url}/api/v1/{path}", timeout=10)
        answer.raise_for_status()
        return answer.json()

    def state(self) -> Any:
        return self.get("state")

    def paused(self) -> Any:
        """The state, once the engines have paused and no recovery is under way."""

        def check() -> Any:
            state = self.state()
            settled = state["recovery"] is None or state["recovery"]["phase"] == "done"
            return state if state["state"] == "paused" and settled else None

        return wait_until(check, "the engines pause")

    def supervisor_pid(self) -> int:
        said = self.nodes[0].said(r"Started DP Coordinator process \(PID: (\d+)\)")
        assert said is not None
        return int(said[1])

    def kill_worker(self) -> int:
        """SIGKILL the coordinator; its pid."""
        pid: int = wait_until(self.state, "the coordinator answers")["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def rejoined(self, killed: int) -> Any:
        """The state, once the coordinator that followed `killed` has all engines back."""
        return self._after(killed, "has its engines back", "settling", "done")

    def recovered(self, killed: int) -> Any:
        """The state, once the recovery has ended: at the end of the first wave, which takes as long as its requests."""
        return self._after(killed, "has recovered", "done")

    def _after(self, killed: int, what: str, *phases: str) -> Any:
        def check() -> Any:
            state = self.state()
            seen.append({name: state[name] for name in ("pid", "state", "current_wave", "recovery")})
            recovery = state["recovery"]
            return state if state["pid"] != killed and recovery is not None and recovery["phase"] in phases else None

        seen: list[Any] = []
        try:
            return wait_until(check, f"the next coordinator {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}; the last that was seen: {seen[-1:]}") from None

    # -- vLLM's side

    def complete(self, tokens: int, node: int = 0) -> int:
        """One completion; the number of tokens that came."""
        answer = HTTP.post(
            f"http://127.0.0.1:{self.nodes[node].port}/v1/completions",
            json={"model": "tiny", "prompt": "one two", "max_tokens": tokens, "ignore_eos": True, "temperature": 0},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        count: int = answer.json()["usage"]["completion_tokens"]
        assert count == tokens
        return count

    def start(self, count: int, tokens: int, node: int = 0) -> list[Future[int]]:
        return [self._pool.submit(self.complete, tokens, node) for _ in range(count)]

    def complete_all(self, count: int, tokens: int, node: int = 0) -> None:
        for future in self.start(count, tokens, node):
            future.result(90)

    def counts(self) -> dict[int, tuple[float, float]]:
        """(waiting, running) of each engine, as vLLM's own metrics have them."""
        text = HTTP.get(f"http://127.0.0.1:{self.nodes[0].port}/metrics", timeout=60).text
        gauges: dict[str, dict[int, float]] = {"waiting": {}, "running": {}}
        for name, engine, value in re.findall(
            r'^vllm:num_requests_(waiting|running){[^}]*engine="(\d+)"[^}]*} (\S+)$', text, re.MULTILINE
        ):
            gauges[name][int(engine)] = float(value)
        return {engine: (gauges["waiting"][engine], running) for engine, running in gauges["running"].items()}

    @contextlib.contextmanager
    def watching_waves(self) -> Iterator[list[int]]:
        """Collects current_wave as REST says it, whichever coordinator answers."""
        seen: list[int] = []
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                with contextlib.suppress(httpx.HTTPError):
                    seen.append(self.state()["current_wave"])

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield seen
        finally:
            done.set()
            watcher.join()
        assert seen == sorted(seen), "a wave number went back"

    # -- the end

    def stop(self) -> list[int]:
        """End all of it; the exit codes."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        codes = [node.stop() for node in reversed(self.nodes)]
        shutil.rmtree(self.folder, ignore_errors=True)
        return codes

    def logs(self) -> str:
        """The end of what every `vllm serve` said, without the lines that only fill the page."""
        return "\n".join(f"==== {node.log}\n{_worth_reading(node.log)}" for node in self.nodes)


def _worth_reading(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    kept = [line[:300] for line in lines if not re.search(r"Route: /|HTTP/1.1|Triton is|nanobind|leaked", line)]
    return "\n".join(kept[-200:])


@contextlib.contextmanager
def deployed(
    model: str, *nodes: Sequence[str], terminal: int | None = None, **environment: str
) -> Iterator[Deployment]:
    """A deployment that is ready; vLLM's logs are printed when it, or the test that has it, fails."""
    deployment = Deployment(model, *nodes, terminal=terminal, **environment)
    try:
        deployment.wait_ready()
        yield deployment
    except BaseException:
        print(deployment.logs())
        raise
    finally:
        deployment.stop()


def exists(pid: int) -> bool:
    """Whether the process runs (one that has ended and was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def resident_mb(pid: int) -> float:
    """Resident memory in MB, pages shared with others included."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
