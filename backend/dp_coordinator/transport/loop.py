"""The poll loop: drain in bounded batches, front-ends first; publish at the deadline; never die of input."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future

import zmq

from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.core.effects import (
    Answer,
    BroadcastStartWave,
    Effect,
    LogEvent,
    PublishLoad,
    PublishWaveState,
    Reject,
    SendReady,
    WriteJournal,
)
from dp_coordinator.core.events import (
    EngineStatsReported,
    EngineSubscribed,
    EngineUnsubscribed,
    Event,
    FrontEndSubscribed,
    FrontEndUnsubscribed,
    NewRequestNotified,
    WaveCompleted,
)
from dp_coordinator.core.recovery import Remembered
from dp_coordinator.mailbox import Command, Mailbox, Reply
from dp_coordinator.recorder.inputs import InputRecorder
from dp_coordinator.transport.limit import RateLimit
from dp_coordinator.transport.sockets import Sockets
from dp_coordinator.wire.client import READY, SUBSCRIBE, UNSUBSCRIBE
from dp_coordinator.wire.coordinator import (
    BadFrameError,
    encode_load,
    encode_start,
    encode_wave_state,
    engine_events,
    front_end_event,
)

log = logging.getLogger("dp_coordinator")

BATCH = 256
"""Frames taken from one socket before the others and the deadline get a look: about a millisecond's work."""
SNAPSHOT_INTERVAL = 0.05
"""Seconds between snapshots while only load changes; viewers sample at 0.1."""
URGENT_SNAPSHOT_DELAY = 0.005
"""Seconds until the snapshot after anything but load changed: not at once, for START is still on its way out."""
LONGEST_WAIT = 1.0
"""Seconds; the loop turns at least this often, so that it can be seen to be alive."""
WAITING_NOTICE_INTERVAL = 10.0
"""Seconds between log lines that say how many engines are missing."""
LOGGED_AT_INFO = frozenset({"ready_sent", "engine_count_changed", "engines_rejoined", "recovery_finished"})
"""Records that the log has too, by default: once in a life or a restart, and asked for when those go wrong."""


class StartTimeoutError(RuntimeError):
    """Not every engine subscribed in time; the text says how many did."""


class Loop:
    """Drives one `Coordinator` with three sockets and a mailbox, on one thread."""

    def __init__(
        self,
        coordinator: Coordinator,
        sockets: Sockets,
        mailbox: Mailbox,
        *,
        start_timeout: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        write_journal: Callable[[Remembered], None] = lambda state: None,
        tape: InputRecorder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start_timeout`: seconds until all engines must have subscribed. `should_stop` is asked every turn.

        `write_journal` may raise `OSError`: waves go on all the same, and the event log says so. Inputs reach the core
        through the `tape`, if there is one.
        """
        self._core = coordinator
        self._tape = tape
        self._inputs = coordinator if tape is None else tape
        self._sockets = sockets
        self._mailbox = mailbox
        self._counters = mailbox.counters
        self._clock = clock
        self._should_stop = should_stop
        self._write_journal = write_journal
        self._journal_failed = False
        self._began = clock()
        self._start_timeout = start_timeout
        self._next_waiting_notice = self._began + WAITING_NOTICE_INTERVAL
        self._bad_frames = RateLimit(rate=5.0, burst=20)
        self._changed = False
        self._urgent_since: float | None = None
        self._snapshot_at = self._began
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poller = zmq.Poller()
        for socket in (sockets.front_publish, sockets.back_publish, sockets.back_output):
            self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self._wake_read, zmq.POLLIN)
        mailbox.inbox.connect(self.wake)

    @property
    def mailbox(self) -> Mailbox:
        """What it shares with the web thread."""
        return self._mailbox

    @property
    def core(self) -> Coordinator:
        """What it drives."""
        return self._core

    def record(self, tape: InputRecorder) -> None:
        """From now on inputs reach the core through the tape. To be called between two turns."""
        self._tape = self._inputs = tape

    @property
    def wake_fd(self) -> int:
        """Write end of the pipe that wakes the loop (for `signal.set_wakeup_fd`)."""
        return self._wake_write

    def wake(self) -> None:
        """End the current wait. Safe from any thread and from signal handlers."""
        try:
            os.write(self._wake_write, b"\0")
        except (BlockingIOError, OSError):
            return  # the pipe is full or closed: the loop is awake or gone

    def stop(self) -> None:
        """Ask `run` to return. Safe from any thread and from signal handlers."""
        self._stopping = True
        self.wake()

    def run(self) -> None:
        """Turn until stopped. Raises `StartTimeoutError` when engines are missing for too long."""
        while not self._stopping and not self._should_stop():
            self.turn()

    def close(self) -> None:
        """Refuse further commands and let go of the wake-up pipe."""
        self._mailbox.inbox.connect(None)
        for _, reply in self._mailbox.inbox.take():
            reply.cancel()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # -- one turn --------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Wait for input or the next deadline, take a batch from each socket, do what is due."""
        readable = dict(self._poller.poll(self._timeout_ms(self._clock())))
        now = self._mailbox.loop_alive_at = self._clock()
        sockets = self._sockets
        if self._wake_read in readable:
            self._take_commands(now)
        if sockets.back_publish in readable:
            # Before anything that may broadcast START: a new engine's first message must be READY.
            self._drain(sockets.back_publish, self._on_engine_subscription, "back_publish", now)
        if sockets.front_publish in readable:
            self._drain(sockets.front_publish, self._on_front_end, "front_publish", now)
        if sockets.back_output in readable:
            self._drain_engines(now)
        now = self._clock()
        deadline = self._core.next_deadline()
        if deadline is not None and now >= deadline:
            self._perform(self._inputs.tick(now), "deadline", now)
        self._publish_snapshot(now)
        if self._tape is not None:
            self._tape.turned(now)
        if not self._core.ready:
            self._while_waiting(now)

    def _timeout_ms(self, now: float) -> int:
        deadline = now + LONGEST_WAIT
        due = self._core.next_deadline()
        if due is not None and due < deadline:
            deadline = due
        if self._changed:
            deadline = min(deadline, self._snapshot_due())
        return max(0, math.ceil((deadline - now) * 1000))

    def _drain(
        self, socket: zmq.Socket[bytes], take: Callable[[bytes, float], str | None], channel: str, now: float
    ) -> None:
        for frame in _receive(socket):
            try:
                kind = take(frame, now)
                if kind is not None:
                    self._counters.count_frame(kind, "accepted")
            except BadFrameError as error:
                self._bad_frame(channel, error.kind, str(error), now)
            except Exception as error:
                self._defect(channel, error, now)

    def _drain_engines(self, now: float) -> None:
        """The hot path: runs of load reports, each taken at once, with a wave message among them now and then."""
        reports: list[EngineStatsReported] = []
        for frame in _receive(self._sockets.back_output):
            try:
                for event in engine_events(frame):
                    if type(event) is EngineStatsReported:
                        reports.append(event)
                    else:
                        self._take_reports(reports, now)
                        reports = []
                        self._on_wave_message(event, now)
            except BadFrameError as error:
                self._bad_frame("back_output", error.kind, str(error), now)
            except Exception as error:
                self._defect("back_output", error, now)
        self._take_reports(reports, now)

    def _take_reports(self, reports: list[EngineStatsReported], now: float) -> None:
        if not reports:
            return
        self._changed = True
        try:
            rejected = self._perform(self._inputs.handle_reports(reports, now), "back_output", now)
            self._counters.count_frame("stats", "accepted", len(reports) - rejected)
        except Exception as error:
            self._defect("back_output", error, now)

    def _on_wave_message(self, event: Event, now: float) -> None:
        kind = "wave_complete" if type(event) is WaveCompleted else "start_wave"
        if not self._perform(self._inputs.handle(event, now), "back_output", now):
            self._counters.count_frame(kind, "accepted")

    def _on_front_end(self, frame: bytes, now: float) -> str | None:
        if frame == SUBSCRIBE:
            return self._feed(FrontEndSubscribed(), "front_end_subscribe", "front_publish", now)
        if frame == UNSUBSCRIBE:
            return self._feed(FrontEndUnsubscribed(), "front_end_unsubscribe", "front_publish", now)
        if frame[:1] in (SUBSCRIBE, UNSUBSCRIBE):
            return "topic_subscription"  # a SUB with a prefix: a harmless tap, and no front-end
        event = front_end_event(frame, self._core.engine_count)
        kind = "notice" if type(event) is NewRequestNotified else "scale"
        return self._feed(event, kind, "front_publish", now)

    def _on_engine_subscription(self, frame: bytes, now: float) -> str | None:
        if frame == SUBSCRIBE:
            return self._feed(EngineSubscribed(), "engine_subscribe", "back_publish", now)
        if frame == UNSUBSCRIBE:
            return self._feed(EngineUnsubscribed(), "engine_unsubscribe", "back_publish", now)
        raise BadFrameError("unexpected", r"engines send only \x01 and \x00 on back_publish")

    def _feed(self, event: Event, kind: str, channel: str, now: float) -> str | None:
        """Hand an event to the core; its kind when it was accepted."""
        return None if self._perform(self._inputs.handle(event, now), channel, now) else kind

    def _take_commands(self, now: float) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass
        for command, reply in self._mailbox.inbox.take():
            if not reply.set_running_or_notify_cancel():
                continue  # whoever asked has given up, and said so
            try:
                self._answer(command, reply, now)
            except Exception as error:
                self._defect("inbox", error, now)
                reply.set_exception(error)

    def _answer(self, command: Command, reply: Future[Reply], now: float) -> None:
        effects = self._inputs.handle(command, now)
        self._perform(effects, "inbox", now)
        self._mailbox.snapshot = self._core.snapshot(now)  # whoever reads the answer must find it in the state too
        for effect in effects:
            if isinstance(effect, Answer):
                reply.set_result(effect.value)

    # -- effects ---------------------------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[Effect], channel: str, now: float) -> int:
        """Carry out effects in order, and return how many inputs on `channel` the core rejected."""
        rejected = 0
        for effect in effects:
            self._changed = True
            match effect:
                case BroadcastStartWave():  # first, for engines wait for it
                    self._sockets.back_publish.send_multipart(encode_start(effect.wave, effect.exclude_engine_index))
                    self._counters.starts[effect.cause.value] = self._counters.starts.get(effect.cause.value, 0) + 1
                case PublishLoad():
                    frame = encode_load(effect.counts, effect.current_wave, effect.engines_running, self._core.dialect)
                    self._sockets.front_publish.send(frame)
                    self._counters.loads_published += 1
                    self._counters.publication_lateness_seconds.observe(effect.late_by)
                    continue
                case WriteJournal():
                    self._remember(effect.state, now)
                    continue
                case PublishWaveState():
                    self._sockets.front_publish.send(encode_wave_state(effect.current_wave, effect.engines_running))
                    self._counters.wave_states_published += 1
                case SendReady():
                    self._sockets.back_publish.send(READY)
                case LogEvent():
                    self._record(effect, now)
                case Reject():
                    rejected += 1
                    self._bad_frame(channel, effect.kind, effect.detail, now)
                case Answer():
                    pass  # given to whoever asked, by _answer
            self._note_urgent(now)
        return rejected

    def _remember(self, state: Remembered, now: float) -> None:
        try:
            self._write_journal(state)
            failed = None
        except OSError as error:
            failed = str(error)
        if (failed is not None) != self._journal_failed:
            self._journal_failed = failed is not None
            self._record(LogEvent("journal_failed" if failed else "journal_works_again", {"detail": failed}), now)
            if failed:
                log.error("the journal cannot be written, and a restart would lose the wave: %s", failed)

    def _record(self, record: LogEvent, now: float) -> None:
        duration = record.fields.get("duration_s")
        if record.kind == "wave_completed" and isinstance(duration, float):
            self._counters.wave_seconds.observe(duration)
        self._mailbox.log.append(now, record.kind, record.fields)
        log.log(logging.INFO if record.kind in LOGGED_AT_INFO else logging.DEBUG, "%s %s", record.kind, record.fields)

    def _bad_frame(self, channel: str, verdict: str, detail: str, now: float) -> None:
        self._counters.count_frame(channel, verdict)
        suppressed = self._bad_frames.admit(now)
        if suppressed is None:
            return
        log.warning("%s: dropped a frame (%s): %s [%d more not logged]", channel, verdict, detail, suppressed)
        fields = {"channel": channel, "verdict": verdict, "detail": detail, "suppressed": suppressed}
        self._mailbox.log.append(now, "bad_frame", fields)
        self._note_urgent(now)

    def _defect(self, channel: str, error: Exception, now: float) -> None:
        """Our own fault, not the sender's; the process goes on all the same."""
        log.error("%s: this input met a defect in dp-coordinator; please report it", channel, exc_info=error)
        self._bad_frame(channel, "internal_error", f"{type(error).__name__}: {error}", now)

    # -- viewers ---------------------------------------------------------------------------------------------------

    def _note_urgent(self, now: float) -> None:
        """More than load changed: a snapshot is due soon after the first such change."""
        self._changed = True
        self._urgent_since = self._urgent_since or now

    def _snapshot_due(self) -> float:
        if self._urgent_since is not None:
            return self._urgent_since + URGENT_SNAPSHOT_DELAY
        return self._snapshot_at + SNAPSHOT_INTERVAL

    def _publish_snapshot(self, now: float) -> None:
        if self._changed and now >= self._snapshot_due():
            self._mailbox.snapshot = self._core.snapshot(now)
            self._snapshot_at = now
            self._changed, self._urgent_since = False, None

    # -- before READY ----------------------------------------------------------------------------------------------

    def _while_waiting(self, now: float) -> None:
        missing = f"{self._core.engines_subscribed} of {self._core.engine_count} engines have subscribed"
        if self._start_timeout is not None and now - self._began >= self._start_timeout:
            raise StartTimeoutError(f"{missing} after {self._start_timeout:g} s (--start-timeout)")
        if now >= self._next_waiting_notice:
            self._next_waiting_notice = now + WAITING_NOTICE_INTERVAL
            log.info("waiting for engines: %s", missing)


def _receive(socket: zmq.Socket[bytes]) -> Iterator[bytes]:
    """What has arrived, at most a batch of it, each frame as soon as it is taken.

    Between two frames the web thread may have the interpreter: a notice in hand is not kept waiting for the next one.
    """
    recv, no_block = socket.recv, zmq.NOBLOCK
    try:
        for _ in range(BATCH):
            yield recv(no_block)
    except zmq.Again:
        return
