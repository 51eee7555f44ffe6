"""The poll loop: drain in bounded batches, front-ends first; publish at the deadline; never die of input."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import zmq

from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.core.effects import (
    Answer,
    BroadcastStartWave,
    Effect,
    PublishLoad,
    PublishWaveState,
    SendReady,
    WriteJournal,
)
from dp_coordinator.core.events import EngineStatsReported, Event
from dp_coordinator.core.snapshot import Remembered
from dp_coordinator.mailbox import Command, Mailbox, Reply
from dp_coordinator.observer import NOBODY_KNOWN, Books, Given, Host, Observer, Sender
from dp_coordinator.transport.batches import receive
from dp_coordinator.transport.entrance import Entrance
from dp_coordinator.transport.peers import CutOffError, PeerWatch
from dp_coordinator.transport.polling import Polling
from dp_coordinator.transport.sockets import Sockets
from dp_coordinator.wakeup import WakeUp
from dp_coordinator.wire.client import READY, SUBSCRIBE, UNSUBSCRIBE
from dp_coordinator.wire.coordinator import (
    BadFieldsError,
    BadFrameError,
    encode_load,
    encode_start,
    encode_wave_state,
    front_end_event,
    read_outputs,
    sender_index,
)
from dp_coordinator.words import Channel

log = logging.getLogger("dp_coordinator")

LONGEST_WAIT = 1.0
"""Seconds; the loop turns at least this often, so that it can be seen to be alive."""
READY_APART = 0.02
"""Seconds between two READYs: to a thousand engines that come back one by one, each would be sent to all of them."""
WAITING_NOTICE_INTERVAL = 10.0
"""Seconds between log lines that say how many engines are missing."""
LOOK_INTERVAL = 0.25
"""Seconds between looks at whether the peers' machines still answer."""


class StartTimeoutError(RuntimeError):
    """Not every engine subscribed in time; the text says how many did."""


class Loop:
    """The host of one `Coordinator` on one thread: three sockets and a mailbox in, effects out."""

    def __init__(
        self,
        coordinator: Coordinator,
        sockets: Sockets,
        mailbox: Mailbox,
        *,
        start_timeout: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        write_journal: Callable[[Remembered], None] = lambda state: None,
        observers: Sequence[Observer] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start_timeout`: seconds until all engines must have subscribed. `should_stop` is asked every turn.

        `write_journal` may raise `OSError`: waves go on all the same, and the event log says so. `observers` are told
        of everything after the mailbox has it.
        """
        self._sockets = sockets
        self._inbox = mailbox.inbox
        self._clock = clock
        self._should_stop = should_stop
        self._write_journal = write_journal
        self._unwritten: tuple[Remembered, float] | None = None
        """What the journal lacks since it cannot be written, and when that was last tried."""
        self._began = clock()
        self._books = Books(coordinator, mailbox, self._began, self._sender_of)
        self._host = Host(coordinator, (self._books, *observers), self._perform)
        self._entrance = Entrance(sockets, self._host, self._books)
        self._turn_by = self._began
        self.steps = 0
        """How often it has gone on to what it does next: to wait, or to the next socket."""
        self._start_timeout = start_timeout
        self._next_waiting_notice = self._began + WAITING_NOTICE_INTERVAL
        self._stopping = False
        self._in_hand: zmq.Frame | None = None
        """The engine's frame in hand, where it tells who sent it."""
        self._front_end: tuple[PeerWatch, zmq.Frame] | None = None
        """The frame in hand that came by another socket."""
        self._look_at = self._began
        self._ready_at, self._ready_by = -math.inf, math.inf
        """When READY was sent last, and by when it is to be sent again."""
        self.wake_up = WakeUp()
        """Ends the current wait."""
        self._polling = Polling(
            (sockets.front_publish, sockets.back_publish, sockets.back_output, sockets.doorkeeper.socket),
            (self.wake_up, *(watch.monitor for watch in sockets.watches.values())),
        )
        self.wake_up.wake()  # the first turn reads what is seldom readable until nothing is left
        self._inbox.connect(self.wake_up.wake)

    def observe(self, observer: Observer) -> None:
        """Tell one more observer from now on. To be called between two turns."""
        self._host.observe(observer)

    def stop(self) -> None:
        """Ask `run` to return. Safe from any thread."""
        self._stopping = True
        self.wake_up.wake()

    def run(self) -> None:
        """Turn until stopped. Raises `StartTimeoutError` when engines are missing for too long."""
        while not self._stopping and not self._should_stop():
            self.turn()

    def close(self) -> None:
        """Refuse further commands and let go of the wake-up pipe."""
        self._inbox.connect(None)
        for _, reply in self._inbox.take():
            reply.cancel()
        self._polling.close()
        self.wake_up.close()

    # -- one turn --------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Wait for input or the next deadline, take a batch from each socket, do what is due."""
        self.steps += 1
        readable = self._polling.wait(self._timeout_ms(self._clock()))
        now = self._clock()
        sockets = self._sockets
        for watch in sockets.watches.values():
            watch.emptied += watch.watched not in readable
        self._entrance.work(readable, self._polling.seldom in readable, now)
        # Subscriptions before anything that may broadcast START, for an engine that reads START before READY dies
        # (vllm/v1/engine/core.py, `process_input_sockets`: the first message must be READY).
        if sockets.back_publish in readable:
            self._drain(sockets.back_publish, self._on_engine_subscription, Channel.BACK_PUBLISH, now)
        if now >= self._ready_by:
            self._send_ready(now)
        # Commands next: there are few of them, and somebody waits for each.
        if self._polling.seldom in readable:
            self._take_commands(now)
        # Front-ends before engines: a notice wakes ranks that sleep, and a backlog of reports would hold it up.
        if sockets.front_publish in readable:
            self._drain(sockets.front_publish, self._on_front_end, Channel.FRONT_PUBLISH, now)
        if sockets.back_output in readable:
            self._drain_engines(now)
        # What is due comes after what has arrived, so that a load publication tells the newest; but after every batch,
        # so that a flood of reports cannot put it off (vLLM's coordinator publishes only when nothing arrives:
        # vllm/v1/engine/coordinator.py, `process_input_socket`). Snapshots and recordings come last: no step waits.
        self.steps += 1
        now = self._clock()
        self._turn_by = self._host.turned(now)
        if now >= self._look_at:
            self._now_and_then(now)
        if not self._host.core.ready:
            self._while_waiting(now)

    def _now_and_then(self, now: float) -> None:
        self._look_at = now + LOOK_INTERVAL
        self._entrance.look(now)
        if self._unwritten is not None and now >= self._unwritten[1] + LONGEST_WAIT:
            self._remember(self._unwritten[0], now)  # there may be room again, and no change for hours

    def _timeout_ms(self, now: float) -> int:
        wait = min(self._turn_by - now, self._ready_by - now, self._entrance.due(now) - now, LONGEST_WAIT)
        return max(0, math.ceil(wait * 1000))

    def _drain(
        self,
        socket: zmq.Socket[bytes],
        read: Callable[[zmq.Frame, PeerWatch, float], Event | None],
        channel: Channel,
        now: float,
    ) -> None:
        self.steps += 1
        watch = self._sockets.watches[channel]
        for frame in receive(socket, watch, self._clock, copy=False):
            self._front_end = watch, frame
            try:
                if not watch.heeds(frame, now):
                    continue
                event = read(frame, watch, now)
                if event is not None:
                    self._host.take(event, now)
            except CutOffError as error:
                self._cut_off(watch, error, now)
            except BadFrameError as error:
                self._books.dropped(channel, error.kind, str(error), now, Sender(watch.sender_of(frame)))
                self._took_unreadable(watch, frame, now)
            except Exception as error:
                self._books.defect(channel, error, now)
        self._front_end = None

    def _sender_of(self, given: Given) -> Sender:
        """For the record of what the core rejects. Many reports are taken at once, and may be of several peers."""
        if self._front_end is not None:
            watch, frame = self._front_end
            return Sender(watch.sender_of(frame))
        engine, watch = getattr(given, "engine_index", None), self._sockets.watches[Channel.BACK_OUTPUT]
        watch.suspect(self._clock())
        if engine is None:
            return NOBODY_KNOWN
        return Sender(None if self._in_hand is None else watch.sender_of(self._in_hand), engine)

    def _on_engine_subscription(self, frame: zmq.Frame, watch: PeerWatch, now: float) -> Event | None:
        if frame.bytes == SUBSCRIBE:
            return watch.subscribed(frame)
        if frame.bytes == UNSUBSCRIBE:
            self._books.passed_over("engine_unsubscribe")
            return watch.unsubscribed(frame)
        raise BadFrameError("unexpected", r"engines send only \x01 and \x00 on back_publish")

    def _on_front_end(self, frame: zmq.Frame, watch: PeerWatch, now: float) -> Event | None:
        data = frame.bytes
        if data == SUBSCRIBE:
            return watch.subscribed(frame)
        if data == UNSUBSCRIBE:
            self._books.passed_over("front_end_unsubscribe")
            return watch.unsubscribed(frame)
        if data[:1] in (SUBSCRIBE, UNSUBSCRIBE):
            # With a topic, as no front-end of vLLM subscribes: a harmless tap.
            return watch.subscribed(frame, "SUB") if data[:1] == SUBSCRIBE else None
        return front_end_event(data, self._host.core.engine_count)

    def _drain_engines(self, now: float) -> None:
        """The hot path: runs of load reports, each taken at once, with a wave message among them now and then."""
        self.steps += 1
        watch = self._sockets.watches[Channel.BACK_OUTPUT]
        reports: list[EngineStatsReported] = []
        frames: Iterator[bytes]
        if watch.wants_names(now):
            frames = self._named(watch, now)
        else:
            frames = receive(self._sockets.back_output, watch, self._clock, copy=True)
        for frame in frames:
            try:
                event = read_outputs(frame, reports)
                if event is not None:
                    self._take_from_engines(reports, now)  # what was reported before it counts before it
                    reports = []
                    self._take_from_engines(event, now)
            except BadFrameError as error:
                self._take_from_engines(reports, now)
                reports = []
                self._take_what_is_sound(frame, error, now)
            except Exception as error:
                self._books.defect(watch.channel, error, now)
        self._take_from_engines(reports, now)

    def _take_what_is_sound(self, frame: bytes, error: BadFrameError, now: float) -> None:
        """Say whose frame is bad, and take those of its fields that are not."""
        engine, watch, named = sender_index(frame), self._sockets.watches[Channel.BACK_OUTPUT], self._in_hand
        peer = (None if named is None else watch.sender_of(named)) or watch.known_as(engine)
        self._books.dropped(Channel.BACK_OUTPUT, error.kind, str(error), now, Sender(peer, engine))
        if not isinstance(error, BadFieldsError):
            watch.suspect(now)
            if named is not None:
                self._took_unreadable(watch, named, now)
        else:
            for event in error.events(self._host.core.last_report(error.engine_index)):
                self._take_from_engines(event, now)

    def _took_unreadable(self, watch: PeerWatch, frame: zmq.Frame, now: float) -> None:
        try:
            watch.unreadable(frame, now)
        except CutOffError as error:
            self._cut_off(watch, error, now)

    def _named(self, watch: PeerWatch, now: float) -> Iterator[bytes]:
        """Engines' frames, each after the core has heard whose connection it came through, if that is news."""
        for frame in receive(self._sockets.back_output, watch, self._clock, copy=False):
            try:
                if not watch.heeds(frame, now):
                    continue
            except CutOffError as error:
                self._cut_off(watch, error, now)
                continue
            self._in_hand = frame
            engine = sender_index(frame.bytes)
            event = None if engine is None else watch.sent(frame, engine, now)
            if event is not None:
                self._take_from_engines(event, now)
            yield frame.bytes
        self._in_hand = None

    def _cut_off(self, watch: PeerWatch, error: CutOffError, now: float) -> None:
        self._books.cut_off(watch.channel, str(error), now, Sender(error.peer, error.engine))

    def _take_from_engines(self, given: Given, now: float) -> None:
        if not given:
            return  # no reports between two wave messages
        try:
            self._host.take(given, now)
        except Exception as error:
            self._books.defect("back_output", error, now)

    def _take_commands(self, now: float) -> None:
        self.wake_up.drain()
        for command, reply in self._inbox.take():
            if not reply.set_running_or_notify_cancel():
                continue  # whoever asked has given up, and said so
            try:
                self._answer(command, reply, now)
            except Exception as error:
                self._books.defect("inbox", error, now)
                reply.set_exception(error)

    def _answer(self, command: Command, reply: Future[Reply], now: float) -> None:
        for effect in self._host.take(command, now):
            if isinstance(effect, Answer):
                reply.set_result(effect.value)

    # -- effects ---------------------------------------------------------------------------------------------------

    def _perform(self, effects: Sequence[Effect], now: float) -> None:
        """Carry out effects in the order given: the core has put the journal before what it must not lag behind."""
        for effect in effects:
            match effect:
                case BroadcastStartWave():  # matched first, for engines wait for it
                    if self._ready_by < math.inf:  # whose first message must be READY
                        self._send_ready(now)
                    self._sockets.back_publish.send_multipart(encode_start(effect.wave, effect.exclude_engine_index))
                case PublishLoad():
                    frame = encode_load(
                        effect.counts, effect.current_wave, effect.engines_running, self._host.core.dialect
                    )
                    self._sockets.front_publish.send(frame)
                case PublishWaveState():
                    self._sockets.front_publish.send(encode_wave_state(effect.current_wave, effect.engines_running))
                case SendReady():
                    # It cannot be addressed, and goes to all: of many who come back, one will do for several.
                    self._ready_by = min(self._ready_by, max(now, self._ready_at + READY_APART))
                    if not self._host.core.rejoining:
                        self._send_ready(now)
                case WriteJournal():
                    self._remember(effect.state, now)

    def _send_ready(self, now: float) -> None:
        self._sockets.back_publish.send(READY)
        self._ready_at, self._ready_by = now, math.inf

    def _remember(self, state: Remembered, now: float) -> None:
        failure = None
        try:
            self._write_journal(state)
        except OSError as error:
            failure = error
        self._unwritten = None if failure is None else (state, now)
        self._books.journal_written(failure, now)

    # -- before READY ----------------------------------------------------------------------------------------------

    def _while_waiting(self, now: float) -> None:
        core = self._host.core
        missing = f"{core.engines_subscribed} of {core.engine_count} engines have subscribed"
        if self._start_timeout is not None and now - self._began >= self._start_timeout:
            raise StartTimeoutError(f"{missing} after {self._start_timeout:g} s (--start-timeout)")
        if now >= self._next_waiting_notice:
            self._next_waiting_notice = now + WAITING_NOTICE_INTERVAL
            log.info("waiting for engines: %s", missing)
