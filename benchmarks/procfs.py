"""What the kernel says of a process: CPU time and memory. Linux only."""

from __future__ import annotations

import os
import time
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, user and system, in seconds with the kernel's own resolution.

    This is the sum that utime and stime in /proc/PID/stat show in ticks of 10 ms: Linux builds the clock's id from
    the process id (what clock_getcpuclockid(3) returns, which Python has not).
    """
    return time.clock_gettime((~pid << 3) | 2)


def resident_mb(pid: int) -> float:
    """Resident memory in MB (10^6 bytes)."""
    return _status_kib(pid, "VmRSS") * 1024 / 1e6


def peak_resident_mb(pid: int) -> float:
    """The most resident memory that the process ever had, in MB (10^6 bytes)."""
    return _status_kib(pid, "VmHWM") * 1024 / 1e6


def socket_memory_mb() -> float:
    """What the kernel holds for all TCP sockets of this machine, in MB (10^6 bytes): no process's resident memory."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.split()[-1]) * os.sysconf("SC_PAGESIZE") / 1e6
    raise OSError("/proc/net/sockstat has no TCP")


def _status_kib(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    raise ProcessLookupError(f"process {pid} has no {key}: it has ended")


def descendants(pid: int) -> list[int]:
    """Process ids of all living descendants, parents first."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def command_line(pid: int) -> list[str]:
    """The arguments that a process was started with."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
