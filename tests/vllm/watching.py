"""`dp-coordinator watch` beside real vLLM, and requests that are always in flight."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.vllm.deployment import HTTP, Node
from tests.waiting import wait_until

TOLD_WITHIN = 10.0
"""Seconds from the moment in which an engine stops until it is told."""


class Watch:
    """A running `dp-coordinator watch`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        answer = HTTP.get(f"{self.url}/api/v1/{path}", timeout=10)
        answer.raise_for_status()
        return answer.json()

    def running(self) -> list[int | None]:
        return [engine["running"] for engine in self.get("engines")["engines"]]

    def alarms(self) -> dict[str, Any]:
        return {alarm["kind"]: alarm for alarm in self.get("alarms")["alarms"]}


@contextlib.contextmanager
def watching(*arguments: str) -> Iterator[Watch]:
    """Run it, on a free port."""
    command = [sys.executable, "-m", "dp_coordinator", "watch", "--http", "127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = next(found for line in process.stdout if (found := re.search(r"http://\S+", line)))
        try:
            yield Watch(said[0])
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def in_flight(ports: Sequence[int]) -> Iterator[None]:
    """One request at a time for each port, again and again; a port that is there twice has two."""
    over = threading.Event()
    body = {"model": "tiny", "prompt": "one two", "max_tokens": 400, "ignore_eos": True, "temperature": 0}

    def go_on(port: int) -> None:
        while not over.is_set():
            HTTP.post(f"http://127.0.0.1:{port}/v1/completions", json=body, timeout=180).raise_for_status()

    threads = [threading.Thread(target=go_on, args=(port,)) for port in ports]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def engines_of(node: Node) -> dict[str, int]:
    """Titles of the engine processes below a `vllm serve`, and their pids."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[pid] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()

    def below(pid: int) -> bool:
        while pid > 1:
            pid = parents.get(pid, 0)
            if pid == node.process.pid:
                return True
        return False

    return {title: pid for pid, title in titles.items() if "EngineCore" in title and below(pid)}


def within(limit: float, what: str, check: Callable[[], Any]) -> Any:
    """What `check` gives, and that it took no longer than `limit` seconds, which is said."""
    began = time.monotonic()
    found = wait_until(check, what, 4 * limit)
    took = time.monotonic() - began
    print(f"{what}: {took:.1f} s")
    assert took <= limit, f"{what}: {took:.1f} s"
    return found


def own_front_publish(node: Node) -> str:
    """Where vLLM's own coordinator publishes: of the sockets that it listens on, the one that was bound first."""
    listening = {}
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) == 8 and fields[3] == "00010000":
            listening[f"socket:[{fields[6]}]"] = fields[7]
    (pid,) = (
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdecimal() and _is_own_coordinator(folder, node)
    )
    links = [os.readlink(each.path) for each in os.scandir(f"/proc/{pid}/fd") if each.is_symlink()]
    first = min((int(link[8:-1]), link) for link in links if link in listening)
    return f"ipc://{listening[first[1]]}"


def _is_own_coordinator(folder: Path, node: Node) -> bool:
    with contextlib.suppress(OSError):
        parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        return parent == node.process.pid and b"DPCoordinator" in (folder / "cmdline").read_bytes().replace(b"_", b"")
    return False
