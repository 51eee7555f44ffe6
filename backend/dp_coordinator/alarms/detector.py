"""Looks at the read model and says what is wrong. It knows no clock: the host calls it now and then with the time.

The host's duties: call `detect` a few times a second while it can; hand over the newest snapshot, the loop's counters
as totals, and the event-log entries since the last call; tell of alarms that are new or gone.

What silence means is the difficult part, and decides what may be said. An engine reports when its (waiting, running)
counts change, and at no other time (vllm/v1/engine/core.py, `_maybe_publish_request_counts`): a rank without requests
says nothing, and one with a single long request says nothing until that ends. So a rank is given the more time the
fewer requests it has; and a wave is taken to step once any rank reports a request running in it, because a forward pass
takes all ranks. Behind external load balancing engines report nothing at all: what only a report could show is not
asked for then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.core.snapshot import Phase, RecoveryPhase, Snapshot, Wave, WaveCause
from dp_coordinator.options import AlarmOptions
from dp_coordinator.sentences import capital, ranks
from dp_coordinator.words import AlarmKind, Severity

MANY_REQUESTS = 16
"""With so many running, the time given to a silent rank is the setting; with fewer it grows: for one, 16 times it.

Requests that are left when a burst is over are the long ones, and keep those waiting out; what matters is how soon one
of them should end.
"""
FAR_MORE = 8
"""Requests that a rank must have beyond twice the mean of the others."""
DRAINS = 0.8
"""A load that fell below this share of what it was drains."""
LATE_BY = 0.5
"""Seconds by which a publication is late, five usual intervals; the bound of a bucket of the host's histogram."""
LATE_OFTEN = 3
"""Late publications within `LATE_WITHIN` seconds that are more than a hiccup."""
LATE_WITHIN = 10.0
STUCK_AFTER = 3.0
"""Seconds; the loop turns once a second at least."""
DEAF_AFTER = 2.0
"""Seconds without a look, or without a turn of the loop: silence before that was our own."""
BAD_FRAMES_QUIET = 30.0
"""Seconds without a bad frame until the alarm clears."""
FRONT_END_FORGOTTEN = 300.0
"""Seconds after which a front-end that left is taken to have left for good."""
UNANSWERED_SHOWN = 30.0
"""Seconds for which a START that the core gave up on still counts as asked."""
HELD_UP_AFTER = 5.0
FRESH_LOAD = 10.0
"""Seconds; counts older than this are not compared: their rank may be gone."""
_KNOWN = {
    AlarmKind.SOCKET_UNREACHABLE: Severity.CRITICAL,
    AlarmKind.FRESH_START: Severity.CRITICAL,
    AlarmKind.PART_MISSING: Severity.WARNING,
}


@dataclass(frozen=True, slots=True)
class Observation:
    """What the host hands over at each look. Totals count since the process started."""

    snapshot: Snapshot
    loop_alive_at: float
    """When the loop last turned, in monotonic seconds."""
    bad_frames: Mapping[tuple[str, str], int]
    """(channel, verdict) -> frames dropped."""
    late_publications: int
    """Publications that missed their deadline by more than `LATE_BY`."""
    entries: Sequence[tuple[str, float]] = ()
    """Kind and time of the event-log entries since the last look."""
    troubles: Mapping[AlarmKind, tuple[float, str]] = field(default_factory=dict)
    """What the host knows to be wrong: kind of alarm -> since when, and the alarm's title."""


class AlarmDetector:
    """Keeps what must be remembered between looks: when something began, and what was counted before."""

    def __init__(self, options: AlarmOptions) -> None:
        self._limits = options
        self._pending: dict[AlarmKind, tuple[float, float]] = {}
        """Kind -> first and last look at which it was so."""
        self._standing: dict[AlarmKind, Alarm] = {}
        self._looked_at = self._loop_alive_at = float("-inf")
        self._hearing_since = 0.0
        self._loads: list[int] = []
        """Requests at each rank, at this look."""
        self._bad: dict[tuple[str, str], int] = {}
        self._bad_now: dict[tuple[str, str], tuple[int, float]] = {}
        self._late_before: int | None = None
        self._late_at: deque[float] = deque(maxlen=LATE_OFTEN)
        self._front_ends = _Usual()
        self._heavy: dict[int, tuple[float, int]] = {}
        """Rank -> since when it has had far more than the others, and how many then."""
        self._journal_failed_at: float | None = None
        self._troubles: Mapping[AlarmKind, tuple[float, str]] = {}
        self._checks: dict[AlarmKind, tuple[Callable[[Snapshot, float], Alarm | None], float, float]] = {
            # What finds it, how long it must last, how long it must be over, in seconds.
            AlarmKind.ASKED_NOT_STEPPING: (self._asked_not_stepping, 0.0, 0.0),
            AlarmKind.RANK_SILENT: (self._rank_silent, 0.0, 0.0),
            AlarmKind.WORK_HELD_UP: (self._work_held_up, 0.0, 0.0),
            AlarmKind.LOAD_IMBALANCE: (self._load_imbalance, 0.0, 3.0),
            AlarmKind.PUBLICATION_LATE: (self._publication_late, 0.0, 0.0),
            AlarmKind.BAD_FRAMES: (self._bad_frames, 0.0, 0.0),
            AlarmKind.ENGINE_GONE: (self._engine_gone, self._limits.alarm_missing_s, 0.0),
            AlarmKind.FRONT_END_GONE: (self._front_end_gone, self._limits.alarm_missing_s, 0.0),
            AlarmKind.RECOVERY_UNDER_WAY: (self._recovery_under_way, self._limits.alarm_missing_s, 0.0),
            AlarmKind.JOURNAL_FAILED: (self._journal_failed, 0.0, 0.0),
            **{kind: (partial(self._known, kind, severity), 0.0, 0.0) for kind, severity in _KNOWN.items()},
        }

    def detect(self, observation: Observation, now: float) -> list[Alarm]:
        """The alarms that stand at `now`, in the order of `AlarmKind`. An alarm keeps its `since` while it stands."""
        self._listen(observation, now)
        for kind, (find, lasting, over) in self._checks.items():
            self._weigh(kind, find(observation.snapshot, now), now, lasting, over)
        self._looked_at = now
        return [self._standing[kind] for kind in AlarmKind if kind in self._standing]

    def _weigh(self, kind: AlarmKind, found: Alarm | None, now: float, lasting: float, over: float) -> None:
        """Raise what has lasted, keep what was over for a moment only."""
        if found is None:
            _, last = self._pending.get(kind, (now, now))
            if kind not in self._standing or now - last >= over:
                self._pending.pop(kind, None)
                self._standing.pop(kind, None)
            return
        first, _ = self._pending.get(kind, (now, now))
        self._pending[kind] = first, now
        stands = self._standing.get(kind)
        if stands is not None:
            self._standing[kind] = replace(found, since=stands.since)
        elif now - first >= lasting:
            self._standing[kind] = replace(found, since=min(found.since, first))

    def _listen(self, observation: Observation, now: float) -> None:
        """Silence counts only while somebody listens: this process may have been stopped, or its loop stuck."""
        self._loop_alive_at = observation.loop_alive_at
        if now - min(self._looked_at, self._loop_alive_at) > DEAF_AFTER:
            self._hearing_since = now
        self._loads = _loads(observation.snapshot)
        self._troubles = observation.troubles
        for kind, at in observation.entries:
            if kind == "journal_failed":
                self._journal_failed_at = at
            elif kind == "journal_works_again":
                self._journal_failed_at = None
        before, self._late_before = self._late_before, observation.late_publications
        if before is not None:
            self._late_at.extend([now] * min(LATE_OFTEN, observation.late_publications - before))
        for key, count in observation.bad_frames.items():
            more = count - self._bad.get(key, 0)
            if more:
                self._bad_now[key] = self._bad_now.get(key, (0, now))[0] + more, now
        self._bad = dict(observation.bad_frames)

    # -- do the engines step? ----------------------------------------------------------------------------------------

    def _asked_not_stepping(self, snapshot: Snapshot, now: float) -> Alarm | None:
        wave = snapshot.waves[-1] if snapshot.waves else None
        if wave is None or not snapshot.wave_coordination or _rejoining(snapshot):
            return None
        # Without reports the only evidence is the wave's end; who starts one by hand finds the engines idle, and an
        # idle engine's wave ends after some empty steps.
        if snapshot.waiting is None and wave.cause is not WaveCause.MANUAL:
            return None
        began = _began(wave)
        # Once raised it takes a step to clear it: requests are notified, and given up on, again and again.
        patience = 0.0 if AlarmKind.ASKED_NOT_STEPPING in self._standing else self._limits.alarm_not_stepping_s
        if wave.ended_at is not None:
            given_up = wave.started_at is None and wave.asked_at is not None and not wave.completed
            if not given_up or now - wave.ended_at > UNANSWERED_SHOWN:
                return None
        elif now - max(began, self._hearing_since) < patience or _stepped(snapshot, wave):
            return None
        stepping = snapshot.stepping if wave.ended_at is None else ()
        unseen = tuple(sorted(set(range(snapshot.engine_count)) - set(stepping)))
        if not unseen:
            return None
        title = f"{capital(ranks(unseen))} not seen stepping in wave {wave.number}, which was asked for"
        return Alarm(AlarmKind.ASKED_NOT_STEPPING, Severity.CRITICAL, began, title, unseen, {"wave": wave.number})

    def _rank_silent(self, snapshot: Snapshot, now: float) -> Alarm | None:
        if AlarmKind.ASKED_NOT_STEPPING in self._standing:
            return None  # said already
        if snapshot.wave_coordination and snapshot.phase is not Phase.RUNNING:
            return None
        heard, working = self._heard(snapshot), [rank for rank, load in enumerate(self._loads) if load]
        running = [count or 0 for count in snapshot.engines.running]
        silent = [rank for rank in working if now - heard[rank] >= self._patience(running[rank])]
        if snapshot.wave_coordination and now - max(heard) >= self._patience(sum(running)):
            silent = working  # a step takes every rank: any report would have shown that all go on
        title = f"{_have(silent)} requests and said nothing for long"
        return self._loaded(AlarmKind.RANK_SILENT, title, {rank: heard[rank] for rank in silent})

    def _patience(self, running: int) -> float:
        return self._limits.alarm_silent_s * MANY_REQUESTS / min(MANY_REQUESTS, running or MANY_REQUESTS)

    def _heard(self, snapshot: Snapshot) -> list[float]:
        """Since when each rank has said nothing that could have been heard; before the phase it had no reason to."""
        since = max(self._hearing_since, snapshot.phase_since) if snapshot.wave_coordination else self._hearing_since
        return [max(since, at or 0.0) for at in snapshot.engines.reported_at]

    def _loaded(self, kind: AlarmKind, title: str, since: Mapping[int, float], **counts: int) -> Alarm | None:
        """The alarm about ranks that have requests, with the time since when for each; None for no rank."""
        if not since:
            return None
        counts = {"requests": sum(self._loads[rank] for rank in since)} | counts
        return Alarm(kind, Severity.WARNING, min(since.values()), title, tuple(since), counts)

    def _work_held_up(self, snapshot: Snapshot, now: float) -> Alarm | None:
        if not snapshot.wave_coordination or snapshot.phase is not Phase.PAUSED or _rejoining(snapshot):
            return None
        if not snapshot.ready or snapshot.engines_subscribed < snapshot.engine_count:
            return None  # the counts of the engine that is gone stay as they were
        heard = enumerate(self._heard(snapshot))
        held = {rank: at for rank, at in heard if self._loads[rank] and now - at >= HELD_UP_AFTER}
        return self._loaded(AlarmKind.WORK_HELD_UP, f"Paused, but {ranks(held)} reported work and went silent", held)

    # -- is the load spread, and told in time? -----------------------------------------------------------------------

    def _load_imbalance(self, snapshot: Snapshot, now: float) -> Alarm | None:
        """Far above: twice the mean of the others and 8 more; until below one and a half times and 4 more.

        Before it is raised, a queue that drains is given its time: after a burst that is all that is left to do.
        """
        loads, reported = self._loads, snapshot.engines.reported_at
        total, others, most = sum(loads), len(loads) - 1, max(loads)
        if others == 0 or most < 1.5 * (total - most) / others + FAR_MORE / 2:
            self._heavy = {}
            return None
        heavy: dict[int, tuple[float, int]] = {}
        for rank, load in enumerate(loads):
            if load < FAR_MORE / 2 or now - (reported[rank] or 0.0) > FRESH_LOAD:
                continue
            mean = (total - load) / others
            if load >= (1.5 * mean + FAR_MORE / 2 if rank in self._heavy else 2 * mean + FAR_MORE):
                since, then = self._heavy.get(rank, (now, load))
                lasts = now - since >= self._limits.alarm_imbalance_s
                drains = load < DRAINS * then and not lasts
                heavy[rank] = (now, load) if drains or now < self._hearing_since + DEAF_AFTER else (since, then)
        self._heavy = heavy
        lasting = {rank: since for rank, (since, _) in heavy.items() if now - since >= self._limits.alarm_imbalance_s}
        title = f"{_have(lasting)} far more requests than the others"
        return self._loaded(AlarmKind.LOAD_IMBALANCE, title, lasting, requests_in_all=total)

    def _publication_late(self, snapshot: Snapshot, now: float) -> Alarm | None:
        if now - self._loop_alive_at >= STUCK_AFTER:
            title = "The coordinator's loop stands still"
            return Alarm(AlarmKind.PUBLICATION_LATE, Severity.CRITICAL, self._loop_alive_at, title)
        stands = AlarmKind.PUBLICATION_LATE in self._standing
        recent = [at for at in self._late_at if now - at < LATE_WITHIN]
        if len(recent) < (1 if stands else LATE_OFTEN):
            return None
        title = "Load is published late, again and again"
        return Alarm(AlarmKind.PUBLICATION_LATE, Severity.WARNING, recent[0], title)

    # -- who is there, and who should not be? ------------------------------------------------------------------------

    def _bad_frames(self, snapshot: Snapshot, now: float) -> Alarm | None:
        if all(now - at >= BAD_FRAMES_QUIET for _, at in self._bad_now.values()):
            self._bad_now.clear()
            return None
        counts = {f"{channel} {verdict}": count for (channel, verdict), (count, _) in sorted(self._bad_now.items())}
        title = "Bad frames arrive: " + ", ".join(f"{count} {key}" for key, count in counts.items())
        return Alarm(AlarmKind.BAD_FRAMES, Severity.WARNING, now, title, (), counts)

    def _engine_gone(self, snapshot: Snapshot, now: float) -> Alarm | None:
        missing = snapshot.engine_count - snapshot.engines_subscribed
        if not snapshot.ready or missing <= 0 or _rejoining(snapshot):
            return None
        title = f"Engines gone: {snapshot.engines_subscribed} of {snapshot.engine_count} are subscribed"
        counts = {"subscribed": snapshot.engines_subscribed, "expected": snapshot.engine_count}
        return Alarm(AlarmKind.ENGINE_GONE, Severity.CRITICAL, now, title, (), counts)

    def _front_end_gone(self, snapshot: Snapshot, now: float) -> Alarm | None:
        have = snapshot.front_ends
        usual = self._front_ends.after(have, now)
        if have >= usual:
            return None
        severity = Severity.WARNING if have else Severity.CRITICAL
        title = f"Front-ends gone: {have} of {usual} are subscribed"
        return Alarm(AlarmKind.FRONT_END_GONE, severity, now, title, (), {"subscribed": have, "before": usual})

    # -- does the coordinator outlive a crash? -----------------------------------------------------------------------

    def _recovery_under_way(self, snapshot: Snapshot, now: float) -> Alarm | None:
        """Settling is no trouble while a wave runs: it lasts as long as that wave, hours under steady traffic."""
        recovery = snapshot.recovery
        if recovery is None or recovery.phase is RecoveryPhase.DONE:
            return None
        back, expected = recovery.engines_back, recovery.engines_expected
        counts = {"back": back, "expected": expected}
        if recovery.phase is RecoveryPhase.REJOINING:
            title = f"Restarted: {back} of {expected} engines are back"
            return Alarm(AlarmKind.RECOVERY_UNDER_WAY, Severity.CRITICAL, recovery.resumed_at, title, (), counts)
        if snapshot.phase is Phase.RUNNING or now - recovery.resumed_at < self._limits.alarm_not_stepping_s:
            return None
        title = "Restarted: all engines are back, and none was seen to follow START"
        return Alarm(AlarmKind.RECOVERY_UNDER_WAY, Severity.WARNING, recovery.resumed_at, title, (), counts)

    def _journal_failed(self, snapshot: Snapshot, now: float) -> Alarm | None:
        if self._journal_failed_at is None:
            return None
        title = "The journal cannot be written"
        return Alarm(AlarmKind.JOURNAL_FAILED, Severity.WARNING, self._journal_failed_at, title)

    def _known(self, kind: AlarmKind, severity: Severity, snapshot: Snapshot, now: float) -> Alarm | None:
        """What the host has found itself."""
        since, title = self._troubles.get(kind, (now, ""))
        return Alarm(kind, severity, since, title) if title else None


class _Usual:
    """How many there usually are: the most there were, until fewer have been there for some minutes."""

    def __init__(self) -> None:
        self._usual = 0
        self._fewer_since: float | None = None
        self._most_since = 0

    def after(self, have: int, now: float) -> int:
        """How many were usual, now that there are `have`."""
        if self._fewer_since is not None and now - self._fewer_since >= FRONT_END_FORGOTTEN:
            self._usual, self._fewer_since = max(self._most_since, have), None
        if have >= self._usual:
            self._usual, self._fewer_since = have, None
        elif self._fewer_since is None:
            self._fewer_since, self._most_since = now, have
        else:
            self._most_since = max(self._most_since, have)
        return self._usual


def _have(indexes: Collection[int]) -> str:
    return f"{capital(ranks(indexes))} {'has' if len(indexes) == 1 else 'have'}"


def _rejoining(snapshot: Snapshot) -> bool:
    return snapshot.recovery is not None and snapshot.recovery.phase is RecoveryPhase.REJOINING


def _began(wave: Wave) -> float:
    return min(at for at in (wave.asked_at, wave.started_at, wave.ended_at) if at is not None)


def _loads(snapshot: Snapshot) -> list[int]:
    """Requests at each rank. One that never reported has none: engines begin with zeros and report each change."""
    columns = snapshot.engines
    return [(waiting or 0) + (running or 0) for waiting, running in zip(columns.waiting, columns.running, strict=True)]


def _stepped(snapshot: Snapshot, wave: Wave) -> bool:
    """Whether a report shows a step in the open wave. A rank's own start_wave does not: it is sent before the step."""
    columns, began = snapshot.engines, _began(wave)
    return any(
        at is not None and at >= began and (own or 0) >= wave.number and ((running or 0) >= 1 or (step or 0) >= 1)
        for at, own, running, step in zip(
            columns.reported_at, columns.current_wave, columns.running, columns.step_counter, strict=True
        )
    )
