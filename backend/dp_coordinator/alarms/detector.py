"""Looks at the read model and says what is wrong. It knows no clock: the host calls it now and then with the time.

The host's duties: call `detect` a few times a second while it can; hand over the newest snapshot, the loop's counters
as totals, and the event-log entries since the last call; tell of alarms that are new or gone.

What silence means is the difficult part, and decides what may be said. An engine reports when its (waiting, running)
counts change, and at no other time (vllm/v1/engine/core.py, `_maybe_publish_request_counts`): a rank without requests
says nothing, and one with a single long request says nothing until that ends. So a rank is given the more time the
fewer requests it has. Whether the engines run is the core's word (core/observation.py), and not judged again here.
Behind external load balancing engines report nothing at all: what only a report could show is not asked for then.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from dp_coordinator.alarms import hanging, presence
from dp_coordinator.alarms.imbalance import Imbalance
from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.alarms.presence import rejoining
from dp_coordinator.beside import REPORTED, reports, unheard
from dp_coordinator.core.snapshot import RecoveryPhase, Snapshot, Wave, WaveCause
from dp_coordinator.options import AlarmOptions
from dp_coordinator.sentences import capital, missing_text, ranks
from dp_coordinator.standing import QUIET_AFTER
from dp_coordinator.words import AlarmKind, DeploymentState, Severity

MANY_REQUESTS = 16
"""With so many running, the time given to a silent rank is the setting; with fewer it grows: for one, 16 times it.

Requests that are left when a burst is over are the long ones, and keep those waiting out; what matters is how soon one
of them should end.
"""
FEW = 4
"""Requests on a rank, in the mean: so few may all be long ones, of which none begins or ends for minutes."""
CANNOT_TELL_FOR = 900.0
"""Seconds for which nothing is said of so few when all ranks are silent together."""
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
UNANSWERED_SHOWN = 30.0
"""Seconds for which a START that the core gave up on still counts as asked."""
HELD_UP_AFTER = 5.0
SURPLUS_AFTER = 60.0
"""Seconds for which more engines may subscribe than there are: those of a coming SCALE load their weights first."""
SENDERS_KEPT = 4
"""Senders of bad frames that an alarm names."""
_KNOWN = {
    AlarmKind.SOCKET_UNREACHABLE: Severity.CRITICAL,
    AlarmKind.FRESH_START: Severity.CRITICAL,
    AlarmKind.PART_MISSING: Severity.WARNING,
    AlarmKind.WEBHOOK_FAILING: Severity.WARNING,
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
    bad_frame_senders: Sequence[tuple[str, int | None]] = ()
    """Who sent the bad frames since the last look, and which rank that is, where it is known."""
    troubles: Mapping[AlarmKind, tuple[float, str]] = field(default_factory=dict)
    """What the host knows to be wrong: kind of alarm -> since when, and the alarm's title."""
    not_running: Mapping[int, str] = field(default_factory=dict)
    """Ranks on this machine whose process is stopped or gone, and which that is; looked for when a rank stands."""


class Check(NamedTuple):
    """What looks for one kind of alarm."""

    find: Callable[[Snapshot, float], Alarm | None]
    lasting: float = 0.0
    """Seconds that it must last before it is raised."""
    over: float = 0.0
    """Seconds that it must be over before it is cleared."""


class AlarmDetector:
    """Keeps what must be remembered between looks: when something began, and what was counted before."""

    def __init__(self, options: AlarmOptions) -> None:
        self._limits = options
        self._pending: dict[AlarmKind, tuple[float, float]] = {}
        """Kind -> first and last look at which it was so."""
        self._standing: dict[AlarmKind, Alarm] = {}
        self._looked_at = self._loop_alive_at = -math.inf
        self._hearing_since = 0.0
        self._loads: list[int] = []
        """Requests at each rank, at this look."""
        self._bad: dict[tuple[str, str], int] = {}
        self._bad_now: dict[tuple[str, str], tuple[int, float]] = {}
        self._late_before: int | None = None
        self._late_at: deque[float] = deque(maxlen=LATE_OFTEN)
        self._front_ends = presence.Usual()
        self._imbalance = Imbalance(options.alarm_imbalance_s)
        self._senders: dict[str, int | None] = {}
        self._journal_failed_at: float | None = None
        self._seen: Observation
        self._began = math.inf
        self.hung_after, missing_s = options.alarm_hung_s, options.alarm_missing_s
        self._checks = {
            AlarmKind.ASKED_NOT_STEPPING: Check(self._asked_not_stepping),
            AlarmKind.RANK_SILENT: Check(self._rank_silent),
            AlarmKind.WORK_HELD_UP: Check(self._work_held_up),
            AlarmKind.RANK_HUNG: Check(lambda snapshot, now: hanging.rank_hung(snapshot, self.hung_after)),
            AlarmKind.DEPLOYMENT_STANDS: Check(self._deployment_stands),
            AlarmKind.RANK_FAULT: Check(lambda snapshot, now: hanging.rank_fault(snapshot)),
            AlarmKind.ENDPOINT_SILENT: Check(self._endpoint_silent, lasting=missing_s),
            AlarmKind.SOURCE_UNUSABLE: Check(hanging.source_unusable, lasting=missing_s),
            AlarmKind.LOAD_IMBALANCE: Check(self._load_imbalance, over=3.0),
            AlarmKind.PUBLICATION_LATE: Check(self._publication_late),
            AlarmKind.BAD_FRAMES: Check(self._bad_frames),
            AlarmKind.ENGINE_GONE: Check(presence.engine_gone, lasting=missing_s),
            AlarmKind.ENGINE_SURPLUS: Check(presence.engine_surplus, lasting=SURPLUS_AFTER),
            AlarmKind.SAME_INDEX: Check(presence.same_index, lasting=missing_s),
            AlarmKind.NEVER_HEARD: Check(self._never_heard, lasting=self._limits.alarm_silent_s),
            AlarmKind.FRONT_END_GONE: Check(self._front_end_gone, lasting=missing_s),
            AlarmKind.RECOVERY_UNDER_WAY: Check(self._recovery_under_way, lasting=missing_s),
            AlarmKind.JOURNAL_FAILED: Check(self._journal_failed),
            **{kind: Check(partial(self._known, kind, severity)) for kind, severity in _KNOWN.items()},
        }

    def detect(self, observation: Observation, now: float) -> list[Alarm]:
        """The alarms that stand at `now`, in the order of `AlarmKind`. An alarm keeps its `since` while it stands."""
        self._listen(observation, now)
        for kind, check in self._checks.items():
            self._weigh(kind, check, check.find(observation.snapshot, now), now)
        self._looked_at = now
        return [self._standing[kind] for kind in AlarmKind if kind in self._standing]

    def _weigh(self, kind: AlarmKind, check: Check, found: Alarm | None, now: float) -> None:
        """Raise what has lasted, keep what was over for a moment only."""
        if found is None:
            _, last = self._pending.get(kind, (now, now))
            if kind not in self._standing or now - last >= check.over:
                self._pending.pop(kind, None)
                self._standing.pop(kind, None)
            return
        first, _ = self._pending.get(kind, (now, now))
        self._pending[kind] = first, now
        stands = self._standing.get(kind)
        if stands is not None:
            self._standing[kind] = replace(found, since=stands.since)
        elif now - first >= check.lasting:
            self._standing[kind] = replace(found, since=min(found.since, first))

    def _listen(self, observation: Observation, now: float) -> None:
        """Silence counts only while somebody listens: this process may have been stopped, or its loop stuck."""
        self._loop_alive_at = observation.loop_alive_at
        if now - min(self._looked_at, self._loop_alive_at) > DEAF_AFTER:
            self._hearing_since = now
        self._loads = _loads(observation.snapshot)
        self._seen, self._began = observation, min(now, self._began)
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
        for sender, rank in observation.bad_frame_senders:
            if len(self._senders) < SENDERS_KEPT:
                self._senders[sender] = rank

    # -- do the engines step? ----------------------------------------------------------------------------------------

    def _asked_not_stepping(self, snapshot: Snapshot, now: float) -> Alarm | None:
        wave = snapshot.waves[-1] if snapshot.waves else None
        if wave is None or not snapshot.wave_coordination or rejoining(snapshot):
            return None
        # Without reports the only evidence is the wave's end; who starts one by hand finds the engines idle, and an
        # idle engine's wave ends after some empty steps.
        if not reports(snapshot) and wave.cause is not WaveCause.MANUAL:
            return None
        began = _began(wave)
        # Once raised it takes a step to clear it: requests are notified, and given up on, again and again.
        patience = 0.0 if AlarmKind.ASKED_NOT_STEPPING in self._standing else self._limits.alarm_not_stepping_s
        if wave.ended_at is not None:
            given_up = wave.started_at is None and wave.asked_at is not None and not wave.completed
            if not given_up or now - wave.ended_at > UNANSWERED_SHOWN:
                return None
        elif snapshot.state is not DeploymentState.STARTING or now - max(began, self._hearing_since) < patience:
            return None
        joined = snapshot.wave.joined if wave.ended_at is None else ()
        unseen = tuple(sorted(set(range(snapshot.engine_count)) - set(joined)))
        if not unseen:
            return None
        title = f"{capital(ranks(unseen))} not seen to join wave {wave.number}, which was asked for"
        if who := missing_text(snapshot):  # the others wait for it, and are not to blame
            unseen = tuple(snapshot.peers.gone)
            title = f"{capital(who)}, and wave {wave.number}, which was asked for, does not start"
        return Alarm(AlarmKind.ASKED_NOT_STEPPING, Severity.CRITICAL, began, title, unseen, {"wave": wave.number})

    def _rank_silent(self, snapshot: Snapshot, now: float) -> Alarm | None:
        if self._standing.keys() & {AlarmKind.ASKED_NOT_STEPPING, AlarmKind.RANK_HUNG, AlarmKind.DEPLOYMENT_STANDS}:
            return None  # said already
        if snapshot.wave_coordination and (snapshot.state is not DeploymentState.RUNNING or snapshot.peers.missing):
            return None  # without one of them none gets past its step, and that alarm says so
        heard, working = self._heard(snapshot), self._working(snapshot)
        if not working:
            return None
        running = [count or 0 for count in snapshot.engines.running]
        # Engines that step together are compared: when none has anything new, that accuses none of them.
        together = snapshot.wave_coordination and len(working) > 1
        until = max(heard) if together and now - max(heard) >= QUIET_AFTER else now
        silent = [rank for rank in working if until - heard[rank] >= self._patience(running[rank])]
        few = together and sum(running) < FEW * len(working)
        all_silent = CANNOT_TELL_FOR if few else self._patience(sum(running))
        if snapshot.wave_coordination and now - max(heard) >= all_silent:
            # A step takes every rank: any report would have shown that all go on. Those that had fallen silent, or
            # behind, while others still stepped are accused before all.
            silent = self._lagging(snapshot, working, heard) or working
        title = f"{_have(silent)} requests and said nothing for long"
        return self._loaded(AlarmKind.RANK_SILENT, title, {rank: heard[rank] for rank in silent})

    def _lagging(self, snapshot: Snapshot, working: Sequence[int], heard: Sequence[float]) -> list[int]:
        waves, running, last = snapshot.engines.current_wave, snapshot.engines.running, max(heard)
        return [
            rank
            for rank in working
            if (waves[rank] or 0) < snapshot.wave.number or last - heard[rank] >= self._patience(running[rank] or 0)
        ]

    def _patience(self, running: int) -> float:
        return self._limits.alarm_silent_s * MANY_REQUESTS / min(MANY_REQUESTS, running or MANY_REQUESTS)

    def _working(self, snapshot: Snapshot) -> list[int]:
        """Ranks that reported requests; of one that only a source tells of, silence on the wire says nothing."""
        told, loads = snapshot.provenance, self._loads
        return [r for r, load in enumerate(loads) if load and (not told or told[r] == REPORTED)]

    def _heard(self, snapshot: Snapshot) -> list[float]:
        """Since when each rank has said nothing that could have been heard; before the phase it had no reason to.

        One that was seen to step is heard by that, and in lockstep all are.
        """
        since = max(self._hearing_since, snapshot.state_since) if snapshot.wave_coordination else self._hearing_since
        stepped = hanging.stepped(snapshot)
        every = max(stepped.values(), default=0.0) if snapshot.wave_coordination else 0.0
        told = enumerate(snapshot.engines.reported_at)
        return [max(since, every, at or 0.0, stepped.get(rank, 0.0)) for rank, at in told]

    def _loaded(self, kind: AlarmKind, title: str, since: Mapping[int, float], **counts: int) -> Alarm | None:
        """The alarm about ranks that have requests, with the time since when for each; None for no rank."""
        if not since:
            return None
        counts = {"requests": sum(self._loads[rank] for rank in since)} | counts
        return Alarm(kind, Severity.WARNING, min(since.values()), title, tuple(since), counts)

    def _work_held_up(self, snapshot: Snapshot, now: float) -> Alarm | None:
        if snapshot.state is not DeploymentState.PAUSED or snapshot.peers.missing:
            return None  # the counts of an engine that is gone stay as they were
        heard = enumerate(self._heard(snapshot))
        working = self._working(snapshot)
        held = {rank: at for rank, at in heard if rank in working and now - at >= HELD_UP_AFTER}
        return self._loaded(AlarmKind.WORK_HELD_UP, f"Paused, but {ranks(held)} reported work and went silent", held)

    # -- what sources tell -------------------------------------------------------------------------------------------

    def _deployment_stands(self, snapshot: Snapshot, now: float) -> Alarm | None:
        return hanging.deployment_stands(snapshot, self.hung_after, self._seen.not_running)

    def _endpoint_silent(self, snapshot: Snapshot, now: float) -> Alarm | None:
        return hanging.endpoint_silent(snapshot, now, now - self._began)

    # -- is the load spread, and told in time? -----------------------------------------------------------------------

    def _load_imbalance(self, snapshot: Snapshot, now: float) -> Alarm | None:
        deaf = now < self._hearing_since + DEAF_AFTER
        lasting = self._imbalance.look(self._loads, snapshot.engines.reported_at, now, deaf=deaf)
        title = f"{_have(lasting)} far more requests than the others"
        return self._loaded(AlarmKind.LOAD_IMBALANCE, title, lasting, requests_in_all=sum(self._loads))

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
            self._senders.clear()
            return None
        counts = {f"{channel} {verdict}": count for (channel, verdict), (count, _) in sorted(self._bad_now.items())}
        title = ", ".join(
            f"{count} {verdict} frame{'' if count == 1 else 's'} on {channel}"
            for (channel, verdict), (count, _) in sorted(self._bad_now.items())
        )
        if self._senders:
            who = (name if rank is None else f"rank {rank}, {name}" for name, rank in self._senders.items())
            title += f"; from {'; '.join(who)}"
        engines = sorted({rank for rank in self._senders.values() if rank is not None and rank < snapshot.engine_count})
        return Alarm(AlarmKind.BAD_FRAMES, Severity.WARNING, now, title, tuple(engines), counts)

    def _never_heard(self, snapshot: Snapshot, now: float) -> Alarm | None:
        return presence.never_heard(snapshot, self._loads, now)

    def _front_end_gone(self, snapshot: Snapshot, now: float) -> Alarm | None:
        return presence.front_end_gone(snapshot, self._front_ends.after(snapshot.front_ends, now), now)

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
            if late := presence.not_back(snapshot):
                title += f", {ranks(late)} {'is' if len(late) == 1 else 'are'} not"
            return Alarm(AlarmKind.RECOVERY_UNDER_WAY, Severity.CRITICAL, recovery.resumed_at, title, late, counts)
        if snapshot.state is DeploymentState.RUNNING or now - recovery.resumed_at < self._limits.alarm_not_stepping_s:
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
        since, title = self._seen.troubles.get(kind, (now, ""))
        return Alarm(kind, severity, since, title) if title else None


def _have(indexes: Collection[int]) -> str:
    return f"{capital(ranks(indexes))} {'has' if len(indexes) == 1 else 'have'}"


def _began(wave: Wave) -> float:
    return min(at for at in (wave.asked_at, wave.started_at, wave.ended_at) if at is not None)


def _loads(snapshot: Snapshot) -> list[int]:
    """Requests at each rank. One that never reported has none: engines begin with zeros and report each change.

    One that is gone has none either: they are lost, and say nothing of the others.
    """
    columns, gone = snapshot.engines, snapshot.peers.gone
    loads = [(waiting or 0) + (running or 0) for waiting, running in zip(columns.waiting, columns.running, strict=True)]
    for rank in (*gone, *unheard(snapshot)):
        loads[rank] = 0
    return loads


def found_within(kind: AlarmKind, options: AlarmOptions) -> float:
    """Seconds within which the detector of a new process raises an alarm that still stands."""
    lasting: dict[AlarmKind, float] = {
        AlarmKind.RANK_SILENT: options.alarm_silent_s,
        AlarmKind.NEVER_HEARD: options.alarm_silent_s,
        AlarmKind.LOAD_IMBALANCE: options.alarm_imbalance_s,
        AlarmKind.ASKED_NOT_STEPPING: options.alarm_not_stepping_s,
        AlarmKind.ENGINE_SURPLUS: SURPLUS_AFTER,
    }
    return lasting.get(kind, options.alarm_missing_s)
