"""What this machine's processes do, as the kernel tells it: whether one is stopped or gone, and whose a connection is.

Nothing here waits; with thousands of processes, to find who has a connection takes some tens of milliseconds.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from dp_coordinator.texts import shown

TITLE_AT_MOST = 120
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ENGINE = re.compile(r"EngineCore_DP(\d{1,5})\b")
_STATES = {"T": "is stopped", "t": "is stopped by a debugger", "Z": "has ended", "X": "has ended"}


def not_running(pid: int) -> str | None:
    """`is stopped`, `has ended` or `is gone`; None for a process that runs, or that nothing is known of."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "is gone"
    except (OSError, IndexError):
        return None
    return _STATES.get(state)


def title_of(pid: int) -> str:
    """What a process of this machine calls itself, fit to be shown; empty where that cannot be read."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()[:4096].rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    # A process that gave itself a title has written it over its arguments, as one word.
    if len(words) > 1:
        words[0] = words[0].rpartition(b"/")[2]  # where the interpreter lies says nothing, and leaves no room
    return shown(b" ".join(words).decode("utf-8", "replace").strip(), TITLE_AT_MOST)


def engine_of(title: str) -> int | None:
    """The rank in a title such as `VLLM::EngineCore_DP3` (vllm/v1/engine/core.py, `run_engine_core`)."""
    found = _ENGINE.search(title)
    return None if found is None else int(found[1])


def owners(addresses: Iterable[str]) -> Mapping[str, int]:
    """Address of a TCP socket on this machine, `127.0.0.1:51234` -> the process that has it, as far as may be known."""
    wanted = {key: address for address in addresses if (key := _key(address)) is not None}
    inodes: dict[str, str] = {}
    for table in _TABLES:
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1] in wanted and fields[9] != "0":
                    inodes[f"socket:[{fields[9]}]"] = wanted[fields[1]]
    return _holders(inodes) if inodes else {}


def _holders(inodes: Mapping[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(process / "fd"):
                with contextlib.suppress(OSError):
                    if (link := os.readlink(descriptor.path)) in inodes:
                        found[inodes[link]] = int(process.name)
    return found


def _key(address: str) -> str | None:
    """An address as the kernel's tables write it: words of four bytes in the machine's order, in hexadecimal."""
    host, _, port = address.rpartition(":")
    try:
        packed = ipaddress.ip_address(host.strip("[]")).packed
    except ValueError:
        return None
    words = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    text = "".join(f"{socket.htonl(int.from_bytes(word, 'big')):08X}" for word in words)
    return f"{text}:{int(port):04X}"
