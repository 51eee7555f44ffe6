"""A real HAProxy in front of ranks, for benchmarks and tests."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
PATIENCE_S = 20.0
_WHOLE = """
global
    stats socket {folder}/stats level admin
defaults
    mode http
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    timeout check 2s
"""


@dataclass(frozen=True)
class Balance:
    """One way to choose a rank."""

    name: str
    algorithm: str
    agent: bool
    """Whether the coordinator's weights count."""


@dataclass(frozen=True)
class Entrance:
    """A port that stands for one HAProxy."""

    balance: Balance
    port: int


class Proxy:
    """A running HAProxy."""

    def __init__(self, folder: Path, entrances: Sequence[Entrance]) -> None:
        self._stats = folder / "stats"
        self.entrances = entrances

    def wait_up(self) -> None:
        """Wait until it takes every server to be up. Raises `RuntimeError` when that does not come."""
        deadline = time.monotonic() + PATIENCE_S
        while not all(row["status"] == "UP" for row in self.show()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"not all are up: {[row['status'] for row in self.show()]}")
            time.sleep(0.1)

    def show(self) -> list[dict[str, str]]:
        """What it says of every server, by the names of its columns."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(PATIENCE_S)
            peer.connect(str(self._stats))
            peer.sendall(b"show stat\n")
            told = b""
            while more := peer.recv(65536):
                told += more
        head, *rows = told.decode().removeprefix("# ").splitlines()
        made = [dict(zip(head.split(","), row.split(","), strict=False)) for row in rows if row]
        return [row for row in made if row["svname"] not in ("FRONTEND", "BACKEND")]


def configuration(ranks: Sequence[int], agent: int | None, entrances: Sequence[Entrance], inter: str = "1s") -> str:
    """A frontend and a backend for each entrance. `ranks` are ports."""
    lines: list[str] = []
    for number, entrance in enumerate(entrances):
        lines += [f"frontend in{number}", f"    bind 127.0.0.1:{entrance.port}", f"    default_backend out{number}"]
        lines += [f"backend out{number}", f"    balance {entrance.balance.algorithm}", "    option httpchk GET /health"]
        for rank, port in enumerate(ranks):
            asks = (
                f' agent-check agent-addr 127.0.0.1 agent-port {agent} agent-inter {inter} agent-send "rank {rank}\\n"'
            )
            told = asks if entrance.balance.agent else ""
            lines.append(f"    server rank{rank} 127.0.0.1:{port} check inter 2s weight 100{told}")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def running(configured: str, entrances: Sequence[Entrance] = ()) -> Iterator[Proxy]:
    """Run HAProxy with these frontends and backends. Raises `RuntimeError` when it does not take them."""
    assert HAPROXY is not None, "there is no HAProxy here: scripts/install-tools installs one where it can"
    with tempfile.TemporaryDirectory(prefix="dpc-haproxy-") as made:
        folder = Path(made)
        (folder / "cfg").write_text(_WHOLE.format(folder=folder) + configured)
        with (folder / "log").open("w+") as log:
            process = subprocess.Popen([HAPROXY, "-db", "-f", str(folder / "cfg")], stdout=log, stderr=log)
            try:
                _wait(folder / "stats", process, folder / "log")
                yield Proxy(folder, entrances)
            finally:
                process.kill()
                process.wait()


def _wait(stats: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not stats.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"HAProxy did not start: {log.read_text()}")
        time.sleep(0.02)
