"""Between the host and the books: who puts an input to the core, has the effects performed, and tells the observers.

`Host` keeps the order of duties that `dp_coordinator.core` asks for; the loop, the recording's player and the tests are
hosts of different surroundings. `Books` is the observer that every live coordinator has: counters, event log,
snapshots. The recorder is another.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from dp_coordinator import sentences
from dp_coordinator.core import events
from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.core.effects import (
    Answer,
    BroadcastStartWave,
    Effect,
    LogEvent,
    PublishLoad,
    PublishWaveState,
    Reject,
    WriteJournal,
)
from dp_coordinator.core.events import EngineStatsReported, Event, Peer, PeerConnected
from dp_coordinator.limits import TokenBucket
from dp_coordinator.mailbox import Counters, Mailbox
from dp_coordinator.texts import shown
from dp_coordinator.words import Channel

log = logging.getLogger("dp_coordinator")

SNAPSHOT_INTERVAL = 0.05
"""Seconds between snapshots while only load changes; viewers sample at 0.1."""
URGENT_SNAPSHOT_DELAY = 0.005
"""Seconds until the snapshot after anything but load changed: not at once, for START is still on its way out."""
LOGGED_AT_INFO = frozenset(
    {"ready_sent", "engine_count_changed", "engines_rejoined", "recovery_finished"}
    | {"engine_disconnected", "engine_unsubscribed"}
)
"""Events that the log has too, by default: once in a life or a restart, and asked for when those go wrong.

vLLM ends itself, and its coordinator with it, within a second of the end of an engine: then the log alone is left to
tell which one was the first.
"""

Given: TypeAlias = Event | list[EngineStatsReported] | None
"""An input of the core: an event, reports of load that came one after the other, or None for time that passed."""

_FRAMES: dict[type, tuple[str, str]] = {
    list: ("stats", "back_output"),
    EngineStatsReported: ("stats", "back_output"),
    events.WaveCompleted: ("wave_complete", "back_output"),
    events.StartWaveRequested: ("start_wave", "back_output"),
    events.NewRequestNotified: ("notice", "front_publish"),
    events.EngineCountChanged: ("scale", "front_publish"),
}
"""Input -> (kind of frame, socket) that it came by. A command comes by neither, and time neither."""


class Sender(NamedTuple):
    """Whose frame it was, as far as that is known."""

    peer: str | None = None
    engine: int | None = None


NOBODY_KNOWN = Sender()


class Observer(Protocol):
    """Is told of everything that happens to the core, after it was done."""

    def took(self, given: Given, effects: Sequence[Effect], now: float) -> None:
        """The core took an input; what came out has been performed."""

    def raised(self, given: Given, error: Exception, now: float) -> None:
        """The core raised on an input, which is a defect in it."""

    def turned(self, now: float) -> float:
        """All that had arrived has been taken. Returns when the next call must be at the latest; infinity for never."""


class Host:
    """One core and its observers."""

    def __init__(
        self,
        core: Coordinator,
        observers: Sequence[Observer] = (),
        perform: Callable[[Sequence[Effect], float], None] = lambda effects, now: None,
    ) -> None:
        """`perform` carries effects out in the order given: the journal is written before anything is announced."""
        self.core = core
        self._observers = tuple(observers)
        self._perform = perform

    def observe(self, observer: Observer) -> None:
        """Tell one more, from the next input on. To be called between two turns."""
        self._observers += (observer,)

    def take(self, given: Given, now: float) -> Sequence[Effect]:
        """Put one input to the core; returns what came out, once it is performed and told. Raises what a defect raises.

        What engines wait for leaves first. Only then is it written down, which may take its time.
        """
        try:
            if isinstance(given, list):
                effects = self.core.handle_reports(given, now)
            else:
                effects = self.core.tick(now) if given is None else self.core.handle(given, now)
        except Exception as error:
            for observer in self._observers:
                observer.raised(given, error, now)
            raise
        try:
            if effects:
                self._perform(effects, now)
        finally:  # a recording without this input could not be run again
            for observer in self._observers:
                observer.took(given, effects, now)
        return effects

    def turned(self, now: float) -> float:
        """End a turn: all that had arrived is taken. Returns when the next turn must be at the latest.

        What is due by now is done first, so that a load publication tells the newest.
        """
        due = self.core.next_deadline()
        if due is not None and now >= due:
            self.take(None, now)
            due = self.core.next_deadline()
        turn_by = math.inf if due is None else due
        for observer in self._observers:
            turn_by = min(turn_by, observer.turned(now))
        return turn_by


def count(counters: Counters, given: Given, effects: Sequence[Effect]) -> None:
    """Count an input, unless it was rejected, and what came out."""
    rejected = 0
    for effect in effects:
        match effect:
            case BroadcastStartWave():
                counters.starts[effect.cause.value] = counters.starts.get(effect.cause.value, 0) + 1
            case PublishLoad():
                counters.loads_published += 1
                counters.publication_lateness_seconds.observe(effect.late_by)
            case PublishWaveState():
                counters.wave_states_published += 1
            case LogEvent("wave_completed", {"duration_s": float(duration)}):
                counters.wave_seconds.observe(duration)
            case Reject():
                rejected += 1
    frame = _subscription(given.peer) if isinstance(given, PeerConnected) else _FRAMES.get(type(given))
    accepted = (len(given) if type(given) is list else 1) - rejected
    if frame is not None and accepted > 0:
        counters.count_frame(frame[0], "accepted", accepted)


def _subscription(peer: Peer) -> tuple[str, str] | None:
    """The frame that a connection was heard by."""
    if peer.channel is Channel.BACK_OUTPUT:
        return None
    member = "engine_subscribe" if peer.channel is Channel.BACK_PUBLISH else "front_end_subscribe"
    return (member if peer.socket_type == "XSUB" else "tap_subscribe"), peer.channel


class Books:
    """What viewers may know of a coordinator, kept in its mailbox: counters, event log, snapshots."""

    def __init__(
        self,
        core: Coordinator,
        mailbox: Mailbox,
        now: float,
        sender_of: Callable[[Given], Sender] = lambda given: NOBODY_KNOWN,
    ) -> None:
        """`sender_of`: who sent the input in hand, asked where the core rejects it."""
        self._core = core
        self._sender_of = sender_of
        self._mailbox = mailbox
        self._bad_frames = TokenBucket(rate=5.0, burst=20, now=now)
        self._at_info = TokenBucket(rate=5.0, burst=20, now=now)
        self._not_logged = 0
        self._cut_offs = TokenBucket(rate=1.0, burst=20, now=now)
        self._cut_offs_not_logged = 0
        self._refusals = TokenBucket(rate=1 / 60, burst=10, now=now)
        self._journal_failed = False
        self._changed = False
        self._urgent_since: float | None = None
        self._snapshot_at = now

    # -- what the core took ----------------------------------------------------------------------------------------

    def took(self, given: Given, effects: Sequence[Effect], now: float) -> None:
        """`Observer.took`."""
        count(self._mailbox.counters, given, effects)
        self._changed = True
        for effect in effects:
            match effect:
                case PublishLoad() | WriteJournal():
                    continue
                case LogEvent():
                    self._log(effect, now)
                case Reject():
                    self.dropped(_FRAMES[type(given)][1], effect.kind, effect.detail, now, self._sender_of(given))
                case Answer():
                    self._publish_snapshot(now)  # whoever reads the answer must find it in the state too
                    continue
            self._note_urgent(now)

    def raised(self, given: Given, error: Exception, now: float) -> None:
        """`Observer.raised`: whoever catches the error calls `defect`."""

    def _log(self, event: LogEvent, now: float) -> None:
        self._mailbox.log.append(now, event.kind, event.fields)
        if event.kind in LOGGED_AT_INFO and self._at_info.take(now):
            log.info("%s", sentences.event(event.kind, event.fields).text)
        else:
            log.debug("%s %s", event.kind, event.fields)

    # -- what never reached the core -------------------------------------------------------------------------------

    def passed_over(self, kind: str) -> None:
        """Count a frame that is in order and means nothing to the core."""
        self._mailbox.counters.count_frame(kind, "accepted")

    def dropped(self, channel: str, verdict: str, detail: str, now: float, sender: Sender = NOBODY_KNOWN) -> None:
        """Count a bad frame, and log it unless there are too many."""
        self._mailbox.counters.count_frame(channel, verdict)
        if not self._bad_frames.take(now):
            self._not_logged += 1
            return
        suppressed, self._not_logged = self._not_logged, 0
        by = "" if sender.peer is None else f" from {sender.peer}"
        log.warning("%s: bad frame%s (%s): %s [%d more not logged]", channel, by, verdict, detail, suppressed)
        fields = {"channel": channel, "verdict": verdict, "detail": detail, "suppressed": suppressed}
        fields |= sender._asdict()
        self._mailbox.log.append(now, "bad_frame", fields)
        self._note_urgent(now)

    def cut_off(self, channel: str, why: str, now: float, sender: Sender) -> None:
        """Count a connection that was ended for what came through it, and name it unless there are too many."""
        self._mailbox.counters.count_frame(channel, "cut_off")
        if not self._cut_offs.take(now):
            self._cut_offs_not_logged += 1
            return
        suppressed, self._cut_offs_not_logged = self._cut_offs_not_logged, 0
        log.warning("%s: cut off %s: %s [%d more not logged]", channel, sender.peer, why, suppressed)
        fields = {"channel": channel, "verdict": "cut_off", "detail": why, "suppressed": suppressed}
        self._mailbox.log.append(now, "peer_cut_off", fields | sender._asdict())
        self._note_urgent(now)

    def refused(self, channel: str, peer: str, why: str, now: float) -> None:
        """Count a connection that was not let in, and name it unless there are too many."""
        counted = self._mailbox.counters.refused
        counted[channel] = counted.get(channel, 0) + 1
        if self._refusals.take(now):
            log.warning(
                "%s: refused a connection from %s: %s [%d since the start]", channel, peer, why, counted[channel]
            )
            fields = {"channel": channel, "peer": peer, "detail": why, "count": counted[channel]}
            self._mailbox.log.append(now, "peer_refused", fields)
            self._note_urgent(now)

    def defect(self, channel: str, error: Exception, now: float) -> None:
        """Our own fault, not the sender's; the process goes on all the same."""
        log.error("%s: this input met a defect in dp-coordinator; please report it", channel, exc_info=error)
        self.dropped(channel, "internal_error", shown(f"{type(error).__name__}: {error}"), now)

    def journal_written(self, failure: OSError | None, now: float) -> None:
        """Tell when the journal begins to fail, and when it works again."""
        if (failure is not None) == self._journal_failed:
            return
        self._journal_failed = failure is not None
        detail = None if failure is None else str(failure)
        self._log(LogEvent("journal_failed" if failure else "journal_works_again", {"detail": detail}), now)
        if failure:
            log.error("the journal cannot be written, and a restart would lose the wave: %s", detail)

    # -- snapshots -------------------------------------------------------------------------------------------------

    def turned(self, now: float) -> float:
        """`Observer.turned`: a snapshot when one is due."""
        self._mailbox.loop_alive_at = now
        if not self._changed:
            return math.inf
        due = self._snapshot_at + SNAPSHOT_INTERVAL
        if self._urgent_since is not None:
            due = self._urgent_since + URGENT_SNAPSHOT_DELAY
        if now < due:
            return due
        self._publish_snapshot(now)
        return math.inf

    def _note_urgent(self, now: float) -> None:
        """More than load changed: a snapshot is due soon after the first such change."""
        self._changed = True
        self._urgent_since = self._urgent_since or now

    def _publish_snapshot(self, now: float) -> None:
        self._mailbox.snapshot = self._core.snapshot(now)
        self._snapshot_at = now
        self._changed, self._urgent_since = False, None
