"""What every rank does, in one word from one function: rows, totals, metrics, REST and `top` all show this."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dp_coordinator.core.snapshot import EndedConnection, Snapshot
from dp_coordinator.sentences import duration, ranks
from dp_coordinator.words import EngineStatus

QUIET_AFTER = 5.0
"""Seconds after which a rank with requests and no news is called quiet."""

TEXTS: Mapping[EngineStatus, str] = {
    EngineStatus.NEVER: "nothing was reported",
    EngineStatus.JOINING: "connected; READY is sent once all engines are",
    EngineStatus.IDLE: "no requests",
    EngineStatus.WORKING: "requests, and lately news of them",
    EngineStatus.QUIET: "requests, and nothing new, which is normal: vLLM reports only when counts change",
    EngineStatus.SUSPECT: "an alarm names it",
    EngineStatus.GONE: "its connection ended",
}


def statuses(snapshot: Snapshot, named: Collection[int], now: float) -> list[EngineStatus]:
    """The word for each rank; `named` are those that an alarm names.

    Gone goes before suspect: it says more. What nobody accuses is never called worse than quiet.
    """
    peers = snapshot.peers
    joining = set() if snapshot.ready else {engine for _, _, engine in peers.connections}
    return [
        EngineStatus.GONE
        if rank in peers.gone
        else EngineStatus.SUSPECT
        if rank in named
        else EngineStatus.JOINING
        if rank in joining
        else _by_reports(snapshot, rank, now)
        for rank in range(snapshot.engine_count)
    ]


def _by_reports(snapshot: Snapshot, rank: int, now: float) -> EngineStatus:
    columns = snapshot.engines
    at = columns.reported_at[rank]
    if at is None:
        return EngineStatus.NEVER
    if not columns.waiting[rank] and not columns.running[rank]:
        return EngineStatus.IDLE
    return EngineStatus.WORKING if now - at < QUIET_AFTER else EngineStatus.QUIET


def place(ended: EndedConnection) -> str:
    """Where a connection was, and how it ended: `pid 2919 VLLM::EngineCore_DP3: connection closed`."""
    return f"{ended.peer.name} {ended.why}" if ended.why == "timed out" else f"{ended.peer.name}: {ended.why}"


def text(snapshot: Snapshot, rank: int, status: EngineStatus, titles: Mapping[int, str], now: float) -> str:
    """The word in a sentence; `titles` are of the alarms, by the ranks that they name."""
    reported_at = snapshot.engines.reported_at[rank]
    if status is EngineStatus.GONE:
        ended = snapshot.peers.gone[rank]
        return f"{place(ended)}, {duration(now - ended.at)} ago"
    if status is EngineStatus.SUSPECT:
        return titles[rank]
    if status is EngineStatus.QUIET and reported_at is not None:
        return f"nothing new for {duration(now - reported_at)}: {TEXTS[status]}"
    return TEXTS[status]


def left_out(snapshot: Snapshot) -> str | None:
    """What gone ranks had, which the totals leave out: `64 at rank 3, gone`; None for nothing."""
    columns = snapshot.engines
    had = {rank: (columns.waiting[rank] or 0) + (columns.running[rank] or 0) for rank in snapshot.peers.gone}
    had = {rank: requests for rank, requests in had.items() if requests}
    return f"{sum(had.values())} at {ranks(had)}, gone" if had else None
