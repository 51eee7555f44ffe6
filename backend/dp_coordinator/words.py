"""The words in which the coordinator speaks of itself: one for each thing that can be so, here and nowhere else.

The core works with them, messages carry them, and the page's types are generated from them. Standard library only.
"""

from __future__ import annotations

from enum import StrEnum


class DeploymentState(StrEnum):
    """What the deployment does, as far as anything shows it."""

    WAITING = "waiting"
    """Engines are missing before READY."""
    PAUSED = "paused"
    """No wave is open."""
    STARTING = "starting"
    """A wave was asked for or announced, and no rank has said yet that it has requests running in it."""
    RUNNING = "running"
    """Some rank has said so, or a step was confirmed; where no rank ever reports, the wave was announced."""
    SERVING = "serving"
    """Without wave coordination: every engine steps by itself."""
    RECOVERING = "recovering"
    """Engines rejoin a coordinator that came back: nobody can say what they do."""


class Channel(StrEnum):
    """The coordinator's sockets, each with connections of its own."""

    FRONT_PUBLISH = "front_publish"
    BACK_OUTPUT = "back_output"
    BACK_PUBLISH = "back_publish"


class PeerKind(StrEnum):
    """What is at the other end of a connection."""

    ENGINE = "engine"
    FRONT_END = "front-end"
    TAP = "tap"
    """Listens, and is no member: a SUB."""
    UNKNOWN = "unknown"
    """Connected to back_output, and has not said which engine it is."""


class WaveCause(StrEnum):
    """Who caused a START broadcast, and with it a wave."""

    FRONT_END = "front-end"
    ENGINE = "engine"
    MANUAL = "manual"
    RECOVERY = "recovery"
    """The coordinator itself, after it came back from a crash."""
    RECONNECTION = "reconnection"
    """The coordinator itself, after a member's connection was lost and made again."""
    UNKNOWN = "unknown"
    """The wave was first seen when it ended: nothing had asked for it (a pause does that)."""


class ActionState(StrEnum):
    """How a manual start stands."""

    ASKED = "asked"
    OBSERVED = "observed"
    """A step, or the wave's end, was seen: it takes every rank."""
    TIMED_OUT = "timed_out"
    """No rank was seen to join in time, though they report."""
    CANNOT_TELL = "cannot_tell"
    """The time is over, and what was seen is no evidence for a step nor against one."""


class RecoveryPhase(StrEnum):
    """How far a coordinator that came back from a crash has got."""

    REJOINING = "rejoining"
    """Engines are subscribing again; START goes out when all have."""
    SETTLING = "settling"
    """START went out; the first wave_complete after it is answered with one more."""
    DONE = "done"


class EngineStatus(StrEnum):
    """What a rank does, as far as anything shows it."""

    NEVER = "never"
    """It has not reported since the coordinator started."""
    JOINING = "joining"
    """It is connected, and no part of the deployment yet: READY was not sent."""
    IDLE = "idle"
    """It has no requests."""
    WORKING = "working"
    """It has requests, and reported lately."""
    QUIET = "quiet"
    """It has requests and nothing new to report, which is normal: vLLM reports only when counts change."""
    SUSPECT = "suspect"
    """An alarm names it."""
    GONE = "gone"
    """Its connection ended."""


class SourceKind(StrEnum):
    """Who told what is known of a rank."""

    REPORTS = "reports"
    """The engine itself, to this coordinator."""
    VLLM = "vllm"
    """The metrics of vLLM's API server."""
    SGLANG = "sglang"
    """SGLang's loads."""
    TAP = "tap"
    """What somebody's coordinator publishes to its front-ends."""


class TargetState(StrEnum):
    """How a source's target answers."""

    NEW = "new"
    """It was not asked yet."""
    ANSWERS = "answers"
    SILENT = "silent"
    """Nothing comes from it: nobody listens there, or whoever does takes too long."""
    UNUSABLE = "unusable"
    """It answers, and the answer says nothing of any rank."""


class RankCondition(StrEnum):
    """What a rank can be, by a source's word, beside working or idle."""

    SLEEPING = "sleeping"
    PAUSED = "paused"
    SCALING = "scaling"
    UNHEALTHY = "unhealthy"
    DEAD = "dead"


class AlarmKind(StrEnum):
    """What can be wrong. At most one alarm of a kind stands at a time."""

    ASKED_NOT_STEPPING = "asked_not_stepping"
    RANK_SILENT = "rank_silent"
    WORK_HELD_UP = "work_held_up"
    RANK_HUNG = "rank_hung"
    DEPLOYMENT_STANDS = "deployment_stands"
    RANK_FAULT = "rank_fault"
    ENDPOINT_SILENT = "endpoint_silent"
    SOURCE_UNUSABLE = "source_unusable"
    LOAD_IMBALANCE = "load_imbalance"
    PUBLICATION_LATE = "publication_late"
    BAD_FRAMES = "bad_frames"
    ENGINE_GONE = "engine_gone"
    ENGINE_SURPLUS = "engine_surplus"
    SAME_INDEX = "same_index"
    NEVER_HEARD = "never_heard"
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
    SOURCES = "sources"
    FRONT_ENDS = "front-ends"
    RESTARTS = "restarts"
    RECORDING = "recording"
    FRAMES = "frames"
    OTHER = "other"
    """A kind that this version does not know, out of a recording of another one."""
