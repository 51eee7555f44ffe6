"""What every rank does, in one word from one function: rows, totals, metrics, REST and `top` all show this."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from dp_coordinator.beside import REPORTED, unheard
from dp_coordinator.core.snapshot import EndedConnection, Snapshot
from dp_coordinator.sentences import duration, missing_text, ranks
from dp_coordinator.sourced import Heartbeat, RankView
from dp_coordinator.words import DeploymentState, EngineStatus

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
    beat = _heartbeat(snapshot, rank)
    if beat is not None and _filled(snapshot, rank):
        at = beat.moved_at  # what a source tells is always new: whether the rank does anything its heartbeat shows
    elif beat is not None:
        at = max(at, beat.grew_at if beat.grew_after is not None else at)
    return EngineStatus.WORKING if now - at < QUIET_AFTER else EngineStatus.QUIET


def _heartbeat(snapshot: Snapshot, rank: int) -> Heartbeat | None:
    view = None if snapshot.sources is None else snapshot.sources.ranks.get(rank)
    return None if view is None else view.heartbeat


def _filled(snapshot: Snapshot, rank: int) -> bool:
    """Whether a source tells its numbers, and not the engine."""
    return bool(snapshot.provenance) and snapshot.provenance[rank] != REPORTED


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
    if _filled(snapshot, rank) and snapshot.sources is not None and rank in snapshot.sources.ranks:
        return _sourced_text(snapshot.sources.ranks[rank], status, now)
    if status is EngineStatus.QUIET and reported_at is not None:
        return f"nothing new for {duration(now - reported_at)}: {_quiet(snapshot, rank, now)}"
    return TEXTS[status]


def _quiet(snapshot: Snapshot, rank: int, now: float) -> str:
    """Why it is quiet, where that is not the normal reason."""
    beat, who = _heartbeat(snapshot, rank), missing_text(snapshot)
    if beat is not None:
        return f"requests, and nothing of it changed for {duration(now - beat.moved_at)}"
    if snapshot.wave_coordination and who:
        return f"requests; {who}, and a step takes every rank"
    if snapshot.state is DeploymentState.PAUSED:
        return "requests, though the engines are paused"
    return TEXTS[EngineStatus.QUIET]


def _sourced_text(view: RankView, status: EngineStatus, now: float) -> str:
    """The word in a sentence, for a rank of which a source tells."""
    told, beat = view.newest, view.heartbeat
    by = "" if told is None else f", by {told.origin.target}, {duration(now - told.at)} ago"
    besides = [f"{name} ({said.value})" if said.value else str(name) for name, said in view.conditions.items()]
    match status:
        case EngineStatus.WORKING if beat is not None:
            does = f"requests, and it makes {beat.unit}"
        case EngineStatus.QUIET if beat is not None:
            does = f"requests, and nothing of it changed for {duration(now - beat.moved_at)}"
        case EngineStatus.QUIET:
            does = "requests, and nothing new"
        case _:
            does = TEXTS[status]
    return "; ".join([does, *besides]) + by


def left_out(snapshot: Snapshot) -> str | None:
    """What ranks had that the totals leave out: `64 at rank 3, gone`; None for nothing."""
    gone = snapshot.peers.gone
    said = {"gone": gone, "not answering": [rank for rank in unheard(snapshot) if rank not in gone]}
    parts = [f"{sum(had.values())} at {ranks(had)}, {why}" for why, of in said.items() if (had := _had(snapshot, of))]
    return "; ".join(parts) or None


def _had(snapshot: Snapshot, of: Iterable[int]) -> dict[int, int]:
    columns = snapshot.engines
    had = {rank: (columns.waiting[rank] or 0) + (columns.running[rank] or 0) for rank in of}
    return {rank: requests for rank, requests in had.items() if requests}
