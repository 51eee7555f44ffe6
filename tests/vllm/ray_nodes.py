"""One or two Ray nodes on this machine, for vLLM's Ray backend, and which process is which engine of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.vllm.deployment import HOME, free_port
from tests.waiting import wait_until

SITE = HOME / "ray-site"
"""Ray, beside vLLM's environment and not in it: scripts/vllm-env puts it there."""
HOSTS = "127.0.0.2", "127.0.0.3"
"""Ray takes 127.0.0.1 for the machine's own address, and would announce that one; others it leaves as they are."""
HOOK = Path(__file__).parent / "ray_hook"
ACTOR = "ray::DPMoEEngineCoreActor"
"""How the title of an engine's process begins, whatever its rank."""


class RayNodes:
    """Ray nodes with the devices of two engines between them."""

    def __init__(self, count: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dpc-ray-"))
        self.address = f"{HOSTS[0]}:{free_port()}"
        self.count = count
        self.processes: list[subprocess.Popen[bytes]] = []

    def environment(self) -> dict[str, str]:
        """What Ray, and vLLM over it, need."""
        path = [str(HOOK), str(SITE), os.environ.get("PYTHONPATH", "")]
        return {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "RAY_ADDRESS": self.address,
            "RAY_USAGE_STATS_ENABLED": "0",
            "VLLM_HOST_IP": HOSTS[0],
        }

    def start(self) -> None:
        """Start the nodes, the head first; returns when they run."""
        head, port = self.address.split(":")
        self._start_node(head, ["--head", "--port", port, "--include-dashboard", "false"])
        for host in HOSTS[1 : self.count]:
            self._start_node(host, ["--address", self.address])

    def _start_node(self, host: str, role: list[str]) -> None:
        log = self.folder / f"{host}.log"
        command = [str(HOME / "env/bin/python"), "-m", "ray.scripts.scripts", "start", "--block", *role]
        command += ["--node-ip-address", host, "--num-cpus", "4", "--num-gpus", str(2 // self.count)]
        command += ["--object-store-memory", "200000000", "--disable-usage-stats", "--temp-dir", str(self.folder)]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                env=os.environ | self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what belongs to this node can be told, and ended
            )
        self.processes.append(process)

        def runs() -> bool:
            assert process.poll() is None, f"the Ray node {host} ended with exit code {process.returncode}"
            return "Ray runtime started" in log.read_text(errors="replace")

        wait_until(runs, f"the Ray node {host} runs", 180)

    def engines(self) -> dict[int, int]:
        """Rank -> pid, for two nodes: vLLM gives rank 0 to the node whose address it was told, which is the head."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if not (folder / "cmdline").read_bytes().startswith(ACTOR.encode()):
                    continue
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
                for rank, node in enumerate(self.processes):
                    if node.pid == session:
                        found[rank] = int(folder.name)
        return found

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            _end_session(process.pid)
            process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def running(count: int) -> Iterator[RayNodes]:
    nodes = RayNodes(count)
    try:
        nodes.start()
        yield nodes
    except BaseException:
        for log in nodes.folder.glob("*.log"):
            print(f"==== {log}\n{log.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        nodes.stop()


def _end_session(session: int) -> None:
    """Ray's workers have process groups of their own, in the session of their node."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                os.kill(int(folder.name), signal.SIGKILL)


def owner_of(address: str) -> int | None:
    """The process that has a TCP connection with this local end, such as `127.0.0.1:51234`."""
    host, port = address.split(":")
    end = f"{int.from_bytes(bytes(map(int, host.split('.'))), 'little'):08X}:{int(port):04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[1] == end}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link))
            if found and found[1] in inodes:
                return int(link.parts[2])
    return None
