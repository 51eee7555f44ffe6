"""Snapshots made by hand, for what a live core cannot be brought to quickly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dp_coordinator.core.snapshot import (
    ActionState,
    EngineColumns,
    PeersView,
    Snapshot,
    StartAction,
    Wave,
    WaveCause,
    WaveEvidence,
)
from dp_coordinator.words import DeploymentState


def columns(reported_at: tuple[float | None, ...]) -> EngineColumns:
    """Engines that reported at these times, each with its index as its numbers."""

    def column(make: Any) -> tuple[Any, ...]:
        return tuple(None if at is None else make(i) for i, at in enumerate(reported_at))

    return EngineColumns(
        waiting=column(int),
        running=column(int),
        kv_cache_usage=column(lambda i: i / 100),
        step_counter=column(int),
        current_wave=column(lambda i: 3),
        reported_at=reported_at,
        restarts=tuple(0 for _ in reported_at),
    )


def snapshot(reported_at: tuple[float | None, ...] = (None,), **changes: Any) -> Snapshot:
    """A paused deployment seen at monotonic 100.0, with `changes`."""
    made = Snapshot(
        at=100.0,
        dialect="0.28",
        wave_coordination=True,
        ready=True,
        current_wave=3,
        engines_running=False,
        state=DeploymentState.PAUSED,
        state_since=90.0,
        wave=WaveEvidence(3),
        start_blocked=None,
        engine_count=len(reported_at),
        engines_subscribed=len(reported_at),
        front_ends=1,
        peers=PeersView((), {}, 0, 0, (), {}),
        peers_version=0,
        waiting=None,
        running=None,
        engines=columns(reported_at),
        waves=(),
        actions=(),
        recovery=None,
    )
    return replace(made, **changes)


def wave(number: int = 3, **changes: Any) -> Wave:
    made = Wave(number, WaveCause.ENGINE, 0, 50.0, 50.5, 60.0, True, 7, 9)
    return replace(made, **changes)


def action(**changes: Any) -> StartAction:
    made = StartAction(
        id="start-1",
        wave=3,
        reason="because",
        caller="me",
        state=ActionState.ASKED,
        asked_at=100.0,
        engine_count=4,
        joined=(),
        confirmed_by=None,
        finished_at=None,
        idempotency_key=None,
    )
    return replace(made, **changes)
