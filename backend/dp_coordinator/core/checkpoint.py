"""The whole state of a core as plain values, and a core made of them again.

A recording begins with one, so that it can begin anywhere. Every attribute that moves is listed in `FIELDS`, with its
type: whoever reads a checkpoint from a file knows by it what to expect (tests/recorder finds an attribute left out).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.effects import EngineCounts
from dp_coordinator.core.events import (
    Event,
    ManualStartRequested,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.manual import _Pending
from dp_coordinator.core.observation import WAVES_KEPT, OpenWave
from dp_coordinator.core.recovery import Recovery, Remembered
from dp_coordinator.core.snapshot import Phase, RecoveryPhase, StartAction, Wave

Checkpoint: TypeAlias = dict[str, Any]
"""Part -> attribute -> value; `dialect` is the version, `recovery` None in a first incarnation."""

FIELDS: Mapping[str, Mapping[str, Any]] = {
    "core": {
        "wave_coordination": bool,
        "engine_count": int,
        "engines_subscribed": int,
        "front_ends": int,
        "ready": bool,
        "_held": list[tuple[str, dict[str, int | None]]],
        "_written": Remembered,
    },
    "waves": {"current_wave": int, "engines_running": bool},
    "load": {
        "_lockstep": bool,
        "_interval": float,
        "counts": list[EngineCounts],
        "steps": list[tuple[int, int]],
        "reported_at": list[float | None],
        "restarts": list[int],
        "total_waiting": int,
        "total_running": int,
        "peak_waiting": int,
        "peak_running": int,
        "_newest_step": tuple[int, int],
        "_whole_step": list[EngineCounts] | None,
        "_changed_at": float | None,
        "_published_at": float | None,
    },
    "log": {
        "open": OpenWave | None,
        "_closed": list[Wave],
        "_asked_again_at": float | None,
        "phase": Phase,
        "phase_since": float,
    },
    "manual": {
        "_timeout": float,
        "_id_prefix": str,
        "_made": int,
        "_pending": _Pending | None,
        "_finished": dict[str, StartAction],
        "_by_key": dict[str, tuple[ManualStartRequested, str]],
    },
    "recovery": {
        "_resumed_wave": int,
        "_resumed_at": float,
        "_finished_at": float | None,
        "phase": RecoveryPhase,
    },
}
_HELD = {kind.__name__: kind for kind in (WaveCompleted, StartWaveRequested, NewRequestNotified)}


def freeze(core: Coordinator) -> Checkpoint:
    """The state as it is now. Quick: containers are copied, but not what is in them, for that never changes."""
    frozen: Checkpoint = {"dialect": core.dialect.version}
    for part, owner in _owners(core).items():
        frozen[part] = None if owner is None else {name: _copy(getattr(owner, name)) for name in FIELDS[part]}
    frozen["core"]["_held"] = [_held(event) for event in core._held]
    return frozen


def thaw(frozen: Checkpoint) -> Coordinator:
    """A core that goes on from a checkpoint; its values must be of the types in `FIELDS`."""
    core = Coordinator(frozen["core"]["engine_count"], Dialect.for_version(frozen["dialect"]))
    if frozen["recovery"] is not None:
        core._recovery = Recovery(Remembered(0, 1, True), 0.0)
    for part, owner in _owners(core).items():
        for name in FIELDS[part] if owner is not None else ():
            setattr(owner, name, _copy(frozen[part][name]))
    core._held = [_HELD[name](**fields) for name, fields in frozen["core"]["_held"]]
    core._log._closed = deque(frozen["log"]["_closed"], maxlen=WAVES_KEPT)
    core._log._closed_tuple = tuple(core._log._closed)
    core._manual._finished = OrderedDict(frozen["manual"]["_finished"])
    core._manual._by_key = OrderedDict(frozen["manual"]["_by_key"])
    return core


def _owners(core: Coordinator) -> dict[str, object]:
    return {
        "core": core,
        "waves": core._waves,
        "load": core._load,
        "log": core._log,
        "manual": core._manual,
        "recovery": core._recovery,
    }


def _copy(value: Any) -> Any:
    match value:
        case list() | deque():
            return list(value)
        case dict():
            return dict(value)
        case OpenWave():
            return replace(value, stepping=dict(value.stepping))
        case _Pending():
            return replace(value, seen=dict(value.seen))
        case _:
            return value


def _held(event: Event) -> tuple[str, dict[str, int | None]]:
    return type(event).__name__, {name: getattr(event, name) for name in ("engine_index", "wave")}
