"""Alarms about who is connected: they follow from the snapshot alone."""

from __future__ import annotations

from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.core.snapshot import RecoveryPhase, Snapshot
from dp_coordinator.sentences import capital, ranks
from dp_coordinator.standing import place
from dp_coordinator.words import AlarmKind, Severity

NAMED = 3
"""Engines that a title names; the row of each says the same."""


def rejoining(snapshot: Snapshot) -> bool:
    """Engines come back to a restarted coordinator: who is not there yet is not gone."""
    return snapshot.recovery is not None and snapshot.recovery.phase is RecoveryPhase.REJOINING


def engine_gone(snapshot: Snapshot, now: float) -> Alarm | None:
    """An engine's connection ended: which one, where it was and how it ended, as far as anybody can tell."""
    peers = snapshot.peers
    missing = snapshot.engine_count - snapshot.engines_subscribed
    if not snapshot.ready or missing <= 0 or rejoining(snapshot) or snapshot.watched:
        return None
    gone = [f"rank {rank}, {place(ended)}" for rank, ended in peers.gone.items()]
    named = gone[:NAMED] + ([f"{len(gone) - NAMED} more"] if len(gone) > NAMED else [])
    have = f"{snapshot.engines_subscribed} of {snapshot.engine_count} are subscribed"
    if unnamed := missing - len(gone):
        named.append(f"{unnamed} that cannot be named" if gone else f"{have}; which one it is cannot be told")
    title = f"{'Engine' if missing == 1 else 'Engines'} gone: {'; '.join(named)}"
    counts = {"subscribed": snapshot.engines_subscribed, "expected": snapshot.engine_count}
    since = min((ended.at for ended in peers.gone.values()), default=now)
    return Alarm(AlarmKind.ENGINE_GONE, Severity.CRITICAL, since, title, tuple(peers.gone), counts)


def engine_surplus(snapshot: Snapshot, now: float) -> Alarm | None:
    """More engines subscribe than the deployment has."""
    surplus, expected = snapshot.peers.surplus, snapshot.engine_count
    if not surplus:
        return None
    title = f"More engines than expected: {expected + surplus} are subscribed, {expected} are expected"
    counts = {"subscribed": expected + surplus, "expected": expected}
    return Alarm(AlarmKind.ENGINE_SURPLUS, Severity.WARNING, now, title, (), counts)


def same_index(snapshot: Snapshot, now: float) -> Alarm | None:
    """Two live connections report as one rank."""
    rivals = snapshot.peers.rivals
    if not rivals:
        return None
    said = [f"rank {rank}, {' and '.join(peer.name for peer in both)}" for rank, both in sorted(rivals.items())]
    title = f"Two engines with one index: {'; '.join(said[:NAMED])}"
    return Alarm(AlarmKind.SAME_INDEX, Severity.CRITICAL, now, title, tuple(sorted(rivals)))


def never_heard(snapshot: Snapshot, loads: list[int], now: float) -> Alarm | None:
    """Some ranks never reported, and every other one has requests. A rank that has none has nothing to report."""
    silent = [rank for rank, at in enumerate(snapshot.engines.reported_at) if at is None]
    silent = [] if snapshot.watched else [rank for rank in silent if rank not in snapshot.peers.gone]
    others = [load for load, at in zip(loads, snapshot.engines.reported_at, strict=True) if at is not None]
    if not silent or not snapshot.ready or not others or min(others) < 1 or sum(others) < 2 * len(others):
        return None
    title = f"{capital(ranks(silent))} {'was' if len(silent) == 1 else 'were'} never heard of, while all others work"
    counts = {"requests": sum(others)}
    return Alarm(AlarmKind.NEVER_HEARD, Severity.WARNING, now, title, tuple(silent), counts)
