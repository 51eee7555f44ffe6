"""The words in which the coordinator speaks of itself: one for each thing that can be so, here and nowhere else.

The core works with them, messages carry them, and the page's types are generated from them. Standard library only.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """What the engines do, as far as it was asked and observed."""

    PAUSED = "paused"
    STARTING = "starting"
    """Asked for (START was broadcast, or engines_running was set), but the ranks were not seen to follow yet."""
    RUNNING = "running"
    """engines_running is set and some rank was seen stepping in this wave, or all ranks were."""


class PhaseWord(StrEnum):
    """The phase as it is shown. A coordinator that came back calls the engines paused until it knows better."""

    PAUSED = "paused"
    STARTING = "starting"
    RUNNING = "running"
    RECOVERING = "recovering"
    """Engines rejoin a coordinator that came back: nobody can say what they do."""


class WaveCause(StrEnum):
    """Who caused a START broadcast, and with it a wave."""

    FRONT_END = "front-end"
    ENGINE = "engine"
    MANUAL = "manual"
    RECOVERY = "recovery"
    """The coordinator itself, after it came back from a crash."""
    UNKNOWN = "unknown"
    """The wave was first seen when it ended: nothing had asked for it (a pause does that)."""


class ActionState(StrEnum):
    """How a manual start stands."""

    ASKED = "asked"
    OBSERVED = "observed"
    TIMED_OUT = "timed_out"


class RecoveryPhase(StrEnum):
    """How far a coordinator that came back from a crash has got."""

    REJOINING = "rejoining"
    """Engines are subscribing again; START goes out when all have."""
    SETTLING = "settling"
    """START went out; the first wave_complete after it is answered with one more."""
    DONE = "done"


class EngineStatus(StrEnum):
    """What is to be thought of a rank, from its reports and from what the engines were asked to do."""

    NEVER = "never"
    """It has not reported since the coordinator started."""
    FRESH = "fresh"
    """It reported lately, or has nothing to report: the engines are paused."""
    STALE = "stale"
    """No report for some seconds while a wave runs."""


class AlarmKind(StrEnum):
    """What can be wrong. At most one alarm of a kind stands at a time."""

    ASKED_NOT_STEPPING = "asked_not_stepping"
    RANK_SILENT = "rank_silent"
    WORK_HELD_UP = "work_held_up"
    LOAD_IMBALANCE = "load_imbalance"
    PUBLICATION_LATE = "publication_late"
    BAD_FRAMES = "bad_frames"
    ENGINE_GONE = "engine_gone"
    FRONT_END_GONE = "front_end_gone"
    RECOVERY_UNDER_WAY = "recovery_under_way"
    JOURNAL_FAILED = "journal_failed"
    SOCKET_UNREACHABLE = "socket_unreachable"
    FRESH_START = "fresh_start"
    PART_MISSING = "part_missing"


class Severity(StrEnum):
    """How soon somebody should look."""

    CRITICAL = "critical"
    """Requests hang, or soon will."""
    WARNING = "warning"


class NoticeKind(StrEnum):
    """What a viewer is told in passing."""

    RECOVERY = "recovery"
    STARTING = "starting"


class Tone(StrEnum):
    """How what is said should look."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


class EventGroup(StrEnum):
    """What an entry of the event log is about."""

    ALARMS = "alarms"
    WAVES = "waves"
    MANUAL_STARTS = "manual starts"
    ENGINES = "engines"
    FRONT_ENDS = "front-ends"
    RESTARTS = "restarts"
    RECORDING = "recording"
    FRAMES = "frames"
    OTHER = "other"
    """A kind that this version does not know, out of a recording of another one."""
