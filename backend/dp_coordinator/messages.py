"""What REST and the WebSocket say, as types. The front end's types are generated from these.

Times named `*_at` are Unix seconds (wall clock, for people); ages and durations are seconds measured on the
monotonic clock. Numbers that were never reported are null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

PhaseName = Literal["paused", "starting", "running"]
EngineStatus = Literal["never", "fresh", "stale"]
CauseName = Literal["front-end", "engine", "manual", "recovery", "unknown"]
RecoveryPhaseName = Literal["rejoining", "settling", "done"]
ActionStateName = Literal["asked", "observed", "timed_out"]
AlarmKindName = Literal[
    "asked_not_stepping",
    "rank_silent",
    "work_held_up",
    "load_imbalance",
    "publication_late",
    "bad_frames",
    "engine_gone",
    "front_end_gone",
    "recovery_under_way",
    "journal_failed",
    "socket_unreachable",
    "fresh_start",
    "part_missing",
]
SeverityName = Literal["critical", "warning"]


class Totals(msgspec.Struct, frozen=True):
    """Sums over the engines that have reported; null when none has."""

    waiting: int | None
    running: int | None


class Engine(msgspec.Struct, frozen=True):
    """One data-parallel rank. `age_s` is seconds since its last report."""

    index: int
    waiting: int | None
    running: int | None
    kv_cache_usage: float | None
    step_counter: int | None
    current_wave: int | None
    age_s: float | None
    status: EngineStatus
    restarts: int
    stepping: bool
    """Seen stepping in the wave that is open."""


class EndpointInfo(msgspec.Struct, frozen=True):
    """Where engines and front-ends connect."""

    front_publish: str
    back_output: str
    back_publish: str


class Situation(msgspec.Struct, frozen=True):
    """What REST, the stream and the history all tell of one moment."""

    current_wave: int
    engines_running: bool
    phase: PhaseName
    phase_age_s: float
    """Seconds since the phase last changed."""
    asked_age_s: float | None
    """Seconds since START was last broadcast for the open wave; null when nothing was asked."""
    ready: bool
    """Every expected engine has subscribed and READY was sent."""
    engine_count: int
    engines_subscribed: int
    front_ends: int
    totals: Totals
    restarts: int
    """How often this coordinator came back; 0 in its first incarnation."""
    recovery: Recovery | None
    """Null unless it came back while engines were alive. While they rejoin, `phase` and `engines_running` say what the
    coordinator tells front-ends, not what the engines do."""


class State(Situation, frozen=True):
    """`GET /api/v1/state`."""

    stepping: list[int]
    """Ranks seen stepping in the open wave."""
    engines: list[Engine]
    dialect: str
    wave_coordination: bool
    min_stats_update_interval_ms: int
    endpoints: EndpointInfo
    start_blocked: str | None
    """Why a manual start would be refused now; null when it would be accepted."""
    uptime_s: float
    data_age_s: float
    """Seconds since the loop last vouched for this state; it does so at least once a second."""
    version: str
    """dp-coordinator's own version."""
    pid: int
    """The coordinator's own process; a supervised one has another after every restart."""
    recording: Playback | None = None
    """Null when this is live; otherwise all of this is out of a recording."""


class Playback(msgspec.Struct, frozen=True):
    """A recording that is shown instead of a running coordinator."""

    name: str
    at: float
    """The moment that is shown."""
    position_s: float
    """Seconds from the recording's first moment to the one shown."""
    duration_s: float
    speed: float
    paused: bool


class Play(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/view`: what is to change; null leaves it as it is."""

    speed: float | None = None
    paused: bool | None = None
    at: float | None = None
    """Seconds from the recording's first moment."""


class Recovery(msgspec.Struct, frozen=True):
    """How far a coordinator that came back from a crash has got."""

    phase: RecoveryPhaseName
    """rejoining: engines subscribe again; settling: START went out, one wave_complete is awaited; done."""
    resumed_wave: int
    """The wave it came back with."""
    resumed_at: float
    engines_back: int
    """Engines subscribed now."""
    engines_expected: int
    finished_at: float | None


class WaveInfo(msgspec.Struct, frozen=True):
    """One wave; `GET /api/v1/waves` lists them newest first."""

    number: int
    cause: CauseName
    cause_engine: int | None
    asked_at: float | None
    started_at: float | None
    ended_at: float | None
    duration_s: float | None
    """From asked (or started) to ended, or to now while open; null when only the end was seen."""
    open: bool
    completed: bool
    peak_waiting: int
    peak_running: int


class Event(msgspec.Struct, frozen=True):
    """One event-log entry; `seq` counts 1, 2, 3, ... since the process started."""

    seq: int
    at: float
    kind: str
    fields: Mapping[str, object]


class EventPage(msgspec.Struct, frozen=True):
    """`GET /api/v1/events`: entries oldest first; ask again with `since=next_since`."""

    events: list[Event]
    next_since: int
    last_seq: int
    truncated: bool
    """Some entries after `since` are no longer held."""
    started_at: float
    """When the coordinator started: a change of it means that event numbers start again."""


class WavePage(msgspec.Struct, frozen=True):
    """`GET /api/v1/waves`: newest first."""

    waves: list[WaveInfo]


class EnginePage(msgspec.Struct, frozen=True):
    """`GET /api/v1/engines`."""

    engines: list[Engine]


class Alarm(msgspec.Struct, frozen=True):
    """Something that is wrong now. It goes away by itself when that is over."""

    kind: AlarmKindName
    severity: SeverityName
    """critical: requests hang, or soon will."""
    since: float
    """When it began, which may be earlier than it was raised."""
    age_s: float
    """Seconds since then."""
    title: str
    """Who and what, in one line."""
    meaning: str
    remedy: str
    """What to do."""
    engines: list[int]
    """Ranks it is about; empty where none can be named."""
    counts: dict[str, int]
    """Its numbers, by name: subscribed and expected engines, bad frames by channel and verdict, ..."""


class AlarmPage(msgspec.Struct, frozen=True):
    """`GET /api/v1/alarms`: critical ones first, the oldest of each first."""

    alarms: list[Alarm]


class History(msgspec.Struct, frozen=True):
    """`GET /api/v1/history`: columns, oldest first; null totals where nothing had been reported."""

    at: list[float]
    current_wave: list[int]
    phase: list[PhaseName]
    waiting: list[int | None]
    running: list[int | None]
    front_ends: list[int]
    engines_subscribed: list[int]


class RankSeen(msgspec.Struct, frozen=True):
    """A rank that was seen stepping, and how long after the ask."""

    engine_index: int
    after_s: float


class Action(msgspec.Struct, frozen=True):
    """A manual start: what was asked, and what was observed of it."""

    id: str
    wave: int
    reason: str
    caller: str
    state: ActionStateName
    asked_at: float
    age_s: float
    seen: list[RankSeen]
    silent: list[int]
    collective: bool
    """True when something collective was the evidence: a finished step, or the wave's end, takes every rank."""
    took_s: float | None
    """Seconds from the ask until all ranks were seen, or until it timed out; null while waiting."""
    engine_count: int
    summary: str
    """The outcome in one sentence."""


class StartWave(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/waves`."""

    reason: str
    expected_wave: int | None = None
    wave: int | None = None


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/login`."""

    token: str


class Session(msgspec.Struct, frozen=True):
    """`GET /api/v1/session`: whether a token is needed here, and whether this request carried a valid one."""

    token_required: bool
    authenticated: bool


class Check(msgspec.Struct, frozen=True):
    """One thing that health depends on."""

    name: str
    ok: bool
    detail: str


class Health(msgspec.Struct, frozen=True):
    """`GET /livez` and `GET /readyz`; `checks` is filled by `?verbose` and whenever something is not ok."""

    ok: bool
    checks: list[Check]


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details; `type` is `/problems/<slug>`."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


# -- WebSocket: each text frame is one of these, told apart by `type` ---------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """First message: who is speaking, and what `?since=` meant."""

    protocol: int
    """1. A page built for another number asks for a reload."""
    version: str
    started_at: float
    """When the coordinator started: a change of it means that event numbers start again."""
    now: float
    """The server's wall clock."""
    last_seq: int
    replay_from: int
    """The first event number that follows; greater than since + 1 when some are no longer held."""
    stale_after_s: float
    recording: Playback | None = None
    """Null when this is live."""


class EngineColumnsMessage(msgspec.Struct, frozen=True):
    """Engines as columns in index order."""

    waiting: list[int | None]
    running: list[int | None]
    kv_cache_usage: list[float | None]
    step_counter: list[int | None]
    current_wave: list[int | None]
    age_s: list[float | None]
    """Age at the moment the message was made; the page lets it grow by itself."""
    restarts: list[int]
    stepping: list[int]
    """Indexes (not a column) of ranks seen stepping in the open wave."""


class StateAt(Situation, frozen=True):
    """What may change from one moment to the next. In the history, ages are to 10 ms and fractions to four places."""

    engines: EngineColumnsMessage
    alarms: list[Alarm]
    """All that stand, critical ones first."""


class StateHistory(msgspec.Struct, frozen=True):
    """`GET /api/v1/history/states`: the states around a moment, one a second; waves and events tell the rest.

    Answers do not overlap: the states before these are found by asking for a moment before the first, and those after
    them by asking for `until`.
    """

    at: list[float]
    """When each state was so, oldest first; empty when nothing so old is held."""
    states: list[StateAt]
    until: float | None
    """When the states that follow these begin; null when these are the newest, of which there are more every second."""
    oldest_at: float | None
    """The oldest state that is held; null when none is."""


class SnapshotMessage(StateAt, frozen=True, tag_field="type", tag="snapshot"):
    """The newest state, at most 10 a second; a slow viewer skips states, never events."""

    at: float
    data_age_s: float
    wave_coordination: bool
    dialect: str
    endpoints: EndpointInfo
    start_blocked: str | None
    waves: list[WaveInfo]
    """The newest 20, newest first."""
    actions: list[Action]
    """The newest 5, newest first."""
    last_seq: int
    recording: Playback | None = None


class EventMessage(Event, frozen=True, tag_field="type", tag="event"):
    """One event-log entry, in order and without gaps."""


class GapMessage(msgspec.Struct, frozen=True, tag_field="type", tag="gap"):
    """Events `first` to `last` are not held any more: the viewer was too slow or away too long."""

    first: int
    last: int


StreamMessage = Hello | SnapshotMessage | EventMessage | GapMessage
