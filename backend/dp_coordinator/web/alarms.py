"""Lets the detector look at the mailbox, and tells of what it finds.

In the event log as alarms come and go; REST, the stream and the metrics show the list that stands.
"""

from __future__ import annotations

import math

from dp_coordinator import messages as m
from dp_coordinator.alarms.detector import LATE_BY, AlarmDetector, Observation
from dp_coordinator.alarms.kinds import TEXTS, Alarm
from dp_coordinator.mailbox import LogEntry, Mailbox
from dp_coordinator.options import AlarmOptions
from dp_coordinator.web.suspects import Suspects
from dp_coordinator.web.views import WallClock, seconds, told
from dp_coordinator.words import AlarmKind, Severity

LOOK_INTERVAL_S = 0.25
"""Seconds between two looks at least: nobody needs to know sooner, and each walks over every engine."""


class AlarmBoard:
    """The alarms that stand. Belongs to the web thread."""

    def __init__(self, mailbox: Mailbox, options: AlarmOptions) -> None:
        self._mailbox = mailbox
        self._options = options
        self._troubles: dict[AlarmKind, tuple[float, str]] = {}
        """As the mailbox's, of the web side."""
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all alarms, and all that they were seen by."""
        self._detector = AlarmDetector(self._options)
        self._suspects = Suspects(self._detector.hung_after)
        self._looked_at = -math.inf
        self._seen_seq = 0
        self.standing: dict[AlarmKind, Alarm] = {}

    def trouble(self, kind: AlarmKind, found: tuple[float, str] | None) -> None:
        """Note what the web side knows to be wrong: since when, and what in one line; None when it is not."""
        if found is None:
            self._troubles.pop(kind, None)
        else:
            self._troubles[kind] = found

    def look(self, now: float) -> None:
        """Ask the detector, unless that was just done; log what is new and what is over."""
        if now - self._looked_at < LOOK_INTERVAL_S:
            return
        self._looked_at = now
        found = {alarm.kind: alarm for alarm in self._detector.detect(self._observation(now), now)}
        before, self.standing = self.standing, found
        for kind, alarm in before.items():
            if kind not in found:
                fields = {"alarm": kind.value, "title": alarm.title, "lasted_s": seconds(now - alarm.since)}
                self._mailbox.log.append(now, "alarm_cleared", fields)
        for kind, alarm in found.items():
            if kind not in before:
                self._mailbox.log.append(now, "alarm_raised", _fields(alarm, now))

    def _observation(self, now: float) -> Observation:
        mailbox, counters = self._mailbox, self._mailbox.counters
        snapshot = mailbox.seen()
        entries = mailbox.log.since(self._seen_seq)
        if entries:
            self._seen_seq = entries[-1].seq
        frames = dict(counters.frames)  # copied at once: the loop goes on counting
        return Observation(
            snapshot=snapshot,
            loop_alive_at=mailbox.loop_alive_at,
            bad_frames={key: count for key, count in frames.items() if key[1] != "accepted"},
            late_publications=counters.publication_lateness_seconds.above(LATE_BY),
            entries=[(entry.kind, entry.at) for entry in entries],
            bad_frame_senders=[sender for entry in entries if (sender := _sender(entry)) is not None],
            troubles={**mailbox.troubles, **self._troubles},
            not_running=self._suspects.look(snapshot, now),
        )

    def messages(self, now: float, clock: WallClock) -> list[m.Alarm]:
        """The alarms that stand, critical ones first, the oldest of each first."""
        stand = self.standing.values()
        listed = sorted(stand, key=lambda alarm: (alarm.severity is not Severity.CRITICAL, alarm.since))
        return [_message(alarm, now, clock) for alarm in listed]


def _sender(entry: LogEntry) -> tuple[str, int | None] | None:
    """Who sent a bad frame, and which rank that is, where it is known."""
    peer, engine = entry.fields.get("peer"), entry.fields.get("engine")
    if entry.kind not in {"bad_frame", "peer_cut_off"} or not isinstance(peer, str):
        return None
    return peer, engine if isinstance(engine, int) else None


def _fields(alarm: Alarm, now: float) -> dict[str, object]:
    """`began_s_ago`: an alarm is raised some time after what it tells of began."""
    fields: dict[str, object] = {"alarm": alarm.kind.value, "severity": alarm.severity.value, "title": alarm.title}
    fields["began_s_ago"] = seconds(now - alarm.since)
    return fields | {"engines": list(alarm.engines), "counts": dict(alarm.counts)}


def _message(alarm: Alarm, now: float, clock: WallClock) -> m.Alarm:
    since, (meaning, remedy) = alarm.since, TEXTS[alarm.kind]
    return told(m.Alarm, alarm, since=clock.of(since), age_s=seconds(now - since), meaning=meaning, remedy=remedy)
