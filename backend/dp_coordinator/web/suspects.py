"""Which ranks' processes are stopped or gone, of those on this machine: looked for only while a rank stands."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dp_coordinator import processes
from dp_coordinator.alarms.hanging import standing
from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.words import Channel, PeerKind

EVERY_S = 1.0


class Suspects:
    """Ask `look` as often as alarms are looked for; it looks at processes once a second."""

    def __init__(self, hung_s: float) -> None:
        """`hung_s`: after how many seconds a rank that stands is an alarm; the look begins at half of that."""
        self._after = hung_s / 2
        self._looked_at = -math.inf
        self._known: Mapping[str, tuple[int, int]] = {}
        """Address of a connection, or `pid N` -> the rank and the process that have it."""
        self._of = -1
        self._found: Mapping[int, str] = {}

    def look(self, snapshot: Snapshot, now: float) -> Mapping[int, str]:
        """Rank -> `pid 2919 VLLM::EngineCore_DP1 is stopped`."""
        if snapshot.sources is None or not standing(snapshot, self._after):
            self._known, self._of, self._found = {}, -1, {}
        elif now - self._looked_at >= EVERY_S:
            self._looked_at = now
            if self._of != snapshot.peers_version:
                self._known, self._of = _engines(snapshot), snapshot.peers_version
            states = {each: processes.not_running(each[1]) for each in self._known.values()}
            self._found = {
                rank: f"pid {pid} {processes.title_of(pid)}".rstrip() + f" {state}"
                for (rank, pid), state in states.items()
                if state is not None and rank < snapshot.engine_count
            }
        return self._found


def _engines(snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """The engines' connections whose process is known, by what tells it: the kernel over ipc, its tables over TCP."""
    found: dict[str, tuple[int, int]] = {}
    elsewhere: dict[str, int | None] = {}
    for connection, kind, engine in snapshot.peers.connections:
        peer = connection.peer
        if kind not in (PeerKind.ENGINE, PeerKind.UNKNOWN) or peer.channel is Channel.FRONT_PUBLISH:
            continue
        if peer.pid is None:
            elsewhere[peer.address] = engine
        elif engine is not None:
            found[f"pid {peer.pid}"] = engine, peer.pid
    for address, pid in processes.owners(elsewhere).items():
        engine = elsewhere[address]
        rank = processes.engine_of(processes.title_of(pid)) if engine is None else engine
        if rank is not None:
            found[address] = rank, pid
    return found
