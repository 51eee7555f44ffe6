"""What REST and the WebSocket say, as types. The front end's types are generated from these.

Times named `*_at` are Unix seconds (wall clock, for people); ages and durations are seconds measured on the
monotonic clock. Numbers that were never reported are null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import asdict

from dp_coordinator import words
from dp_coordinator.messages_changes import SnapshotChange as SnapshotChange  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_events import Event as Event  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_events import EventMessage as EventMessage  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_events import EventPage as EventPage  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_events import GapMessage as GapMessage  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_peers import EnginePeer as EnginePeer  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_peers import Peer as Peer  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_peers import PeerPage as PeerPage  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_process import Playback as Playback  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_process import Recovery as Recovery  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_sources import EngineSource as EngineSource  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_sources import Provenance as Provenance  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_sources import SourcePage as SourcePage  # noqa: PLC0414  (also found here)
from dp_coordinator.messages_sources import Target as Target  # noqa: PLC0414  (also found here)

PROTOCOL = 3
"""The stream's; a viewer that was made for another number understands nothing of it, and says so."""


class Totals(msgspec.Struct, frozen=True):
    """Sums over the engines that have reported and are not gone; null when none has."""

    waiting: int | None
    running: int | None
    left_out: str | None
    """What gone ranks had, which is not in the sums: `64 at rank 3, gone`."""


class Engine(msgspec.Struct, frozen=True):
    """One data-parallel rank. `age_s` is seconds since its numbers were last told, by whom `source` says."""

    index: int
    waiting: int | None
    running: int | None
    kv_cache_usage: float | None
    step_counter: int | None
    current_wave: int | None
    age_s: float | None
    status: words.EngineStatus
    restarts: int
    source: words.SourceKind | None = None
    """Who told waiting, running, kv_cache_usage and their age; null when nobody did."""
    status_text: str = ""
    """The status in a sentence; on the stream it is left out."""
    peer: EnginePeer | None = None
    """Null where no connection is known to be this rank's; on the stream it is left out."""
    sourced: EngineSource | None = None
    """What sources say of it, beside what it reported; on the stream it is left out."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where engines and front-ends connect: the addresses as bound (a TCP port 0 is replaced by the real one)."""

    front_publish: str
    back_output: str
    back_publish: str


class WaveEvidence(msgspec.Struct, frozen=True):
    """What shows that the open wave runs. While none is open: the next one's number, and nulls."""

    number: int
    asked_at: float | None
    """When START was first broadcast for it."""
    announced_at: float | None
    """When front-ends were told that it runs."""
    joined: Sequence[int]
    """Ranks that are in it by their own word: start_wave, or a report of requests running in it."""
    confirmed_at: float | None
    confirmed_by: str | None
    """What showed that all ranks step: a step that one of them has behind it takes all."""


class Situation(msgspec.Struct, frozen=True):
    """What REST, the stream and the history all tell of one moment."""

    current_wave: int
    engines_running: bool
    """What front-ends are told."""
    state: words.DeploymentState
    state_text: str
    """The same in a sentence, with what was asked apart from what was seen; `state_age_s` says for how long."""
    state_tone: words.Tone
    """How it should look: as the worst alarm; good only where something confirms it."""
    state_age_s: float
    """Seconds since the state last changed."""
    wave: WaveEvidence
    ready: bool
    """Every expected engine has subscribed and READY was sent."""
    engine_count: int
    engines_subscribed: int
    front_ends: int
    totals: Totals
    restarts: int
    """How often this coordinator came back; 0 in its first incarnation."""
    recovery: Recovery | None
    """Null unless it came back while engines were alive. While they rejoin, `engines_running` says what the
    coordinator tells front-ends, not what the engines do."""
    peers_version: int
    """Counts up whenever somebody connects, is identified, or goes."""


class State(Situation, frozen=True):
    """`GET /api/v1/state`."""

    engines: list[Engine]
    dialect: str
    wave_coordination: bool
    min_stats_update_interval_ms: int
    endpoints: Endpoints
    start_blocked: str | None
    """Why a manual start would be refused now; null when it would be accepted."""
    uptime_s: float
    data_age_s: float
    """Seconds since the loop last vouched for this state; it does so at least once a second."""
    name: str
    """What the deployment is called; empty where nobody named it."""
    version: str
    """dp-coordinator's own version."""
    pid: int
    """The coordinator's own process; a supervised one has another after every restart."""
    recording: Playback | None = None
    """Null when this is live; otherwise all of this is out of a recording."""
    watching: bool = False
    """There is no coordinator here, only sources are shown: nothing can be started."""
    recorded: bool = False
    """Whether the last minutes are recorded, for `GET /api/v1/recording`."""


class WaveInfo(msgspec.Struct, frozen=True):
    """One wave; `GET /api/v1/waves` lists them newest first."""

    number: int
    cause: words.WaveCause
    cause_engine: int | None
    asked_at: float | None
    started_at: float | None
    ended_at: float | None
    duration_s: float | None
    """From asked (or started) to ended, or to now while open; null when only the end was seen."""
    open: bool
    completed: bool
    peak_waiting: int | None
    """The most that waited at a time; null, as the next, where nobody was seen in the wave."""
    peak_running: int | None
    confirmed: bool
    """Something showed that all ranks stepped in it."""


class WavePage(msgspec.Struct, frozen=True):
    """`GET /api/v1/waves`: newest first."""

    waves: list[WaveInfo]


class EnginePage(msgspec.Struct, frozen=True):
    """`GET /api/v1/engines`."""

    engines: list[Engine]


class Alarm(msgspec.Struct, frozen=True):
    """Something that is wrong now. It goes away by itself when that is over."""

    kind: words.AlarmKind
    severity: words.Severity
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
    engines: Sequence[int]
    """Ranks it is about; empty where none can be named."""
    counts: Mapping[str, int]
    """Its numbers, by name: subscribed and expected engines, bad frames by channel and verdict, ..."""


class AlarmPage(msgspec.Struct, frozen=True):
    """`GET /api/v1/alarms`: critical ones first, the oldest of each first."""

    alarms: list[Alarm]


class History(msgspec.Struct, frozen=True):
    """`GET /api/v1/history`: columns, oldest first; null totals where nothing had been reported."""

    at: list[float]
    current_wave: list[int]
    state: list[words.DeploymentState]
    waiting: list[int | None]
    running: list[int | None]
    front_ends: list[int]
    engines_subscribed: list[int]


class RankSeen(msgspec.Struct, frozen=True):
    """A rank that joined by its own word, and how long after the ask."""

    engine_index: int
    after_s: float


class Action(msgspec.Struct, frozen=True):
    """A manual start: what was asked, and what was observed of it."""

    id: str
    wave: int
    reason: str
    caller: str
    state: words.ActionState
    asked_at: float
    age_s: float
    joined: list[RankSeen]
    silent: Sequence[int]
    """Ranks of which nothing was seen."""
    confirmed_by: str | None
    """What showed that all ranks step: a finished step, or the wave's end, takes every rank."""
    took_s: float | None
    """Seconds from the ask until a step was confirmed, or until it was given up; null while waiting."""
    engine_count: int
    summary: str
    """The outcome in one sentence."""


# -- WebSocket: each text frame is one of these, told apart by `type` ---------------------------------------------


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """First message: who is speaking, and what `?since=` meant."""

    protocol: int
    """3. A page built for another number asks for a reload."""
    version: str
    started_at: float
    """When the coordinator started: a change of it means that event numbers start again."""
    now: float
    """The server's wall clock."""
    last_seq: int
    replay_from: int
    """The first event number that follows; greater than since + 1 when some are no longer held."""
    recording: Playback | None = None
    """Null when this is live."""


class Statuses(msgspec.Struct, frozen=True):
    """What every rank is, in short: a word for each of a thousand would be a sixth of all that is sent."""

    most: words.EngineStatus
    others: dict[words.EngineStatus, list[int]]
    """The ranks that are something else."""


class EngineColumnsMessage(msgspec.Struct, frozen=True):
    """Engines as columns in index order."""

    waiting: Sequence[int | None]
    running: Sequence[int | None]
    kv_cache_usage: Sequence[float | None]
    step_counter: Sequence[int | None]
    current_wave: Sequence[int | None]
    age_s: Sequence[float | None]
    """Age at the moment the message was made; the page lets it grow by itself."""
    status: Statuses
    restarts: Sequence[int]
    provenance: Provenance = Provenance(words.SourceKind.REPORTS, {}, [])

    def rows(self) -> list[Engine]:
        """The same with one row for each rank."""
        ranks = range(len(self.restarts))
        status = dict.fromkeys(ranks, self.status.most)
        for other, others in self.status.others.items():
            status |= dict.fromkeys(others, other)
        told = self.provenance
        source: dict[int, words.SourceKind | None] = dict.fromkeys(ranks, told.most) | dict.fromkeys(told.nobody)
        for kind, ranks_of_it in told.others.items():
            source |= dict.fromkeys(ranks_of_it, kind)
        columns = asdict(self) | {
            "index": ranks,
            "status": [status[rank] for rank in ranks],
            "source": [source[rank] for rank in ranks],
        }
        names = [name for name in Engine.__struct_fields__ if name in columns]
        return [Engine(*row) for row in zip(*(columns[name] for name in names), strict=False)]


class Notice(msgspec.Struct, frozen=True):
    """Something that a viewer should be told in passing, for as long as it is here."""

    kind: words.NoticeKind
    tone: words.Tone
    text: str


class StateAt(Situation, frozen=True):
    """What may change from one moment to the next. Ranks' ages are to 10 ms, fractions to three places."""

    engines: EngineColumnsMessage
    notices: list[Notice]
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

    name: str
    number: int
    """Counts up; a `SnapshotChange` names the one that it changes."""
    at: float
    data_age_s: float
    wave_coordination: bool
    dialect: str
    endpoints: Endpoints
    start_blocked: str | None
    waves: list[WaveInfo]
    """The newest 20, newest first."""
    actions: list[Action]
    """The newest 5, newest first."""
    last_seq: int
    recording: Playback | None = None
    watching: bool = False
    """There is no coordinator here, only sources are shown: nothing can be started."""
    recorded: bool = False
    """Whether the last minutes are recorded, for `GET /api/v1/recording`."""


StreamMessage = Hello | SnapshotMessage | SnapshotChange | EventMessage | GapMessage
