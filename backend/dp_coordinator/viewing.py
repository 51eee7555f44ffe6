"""`view`: the page and REST over a recording. One thread: the core is run over it between two requests."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeGuard

from dp_coordinator.core.snapshot import Snapshot
from dp_coordinator.endings import told_to_end
from dp_coordinator.mailbox import Counters, Mailbox
from dp_coordinator.messages import Endpoints, Playback
from dp_coordinator.observer import count
from dp_coordinator.recorder.chunks import CutOffError, DamagedError
from dp_coordinator.recorder.entries import LARGEST, CheckpointBody, RecordedInput, RecordedLogEntry, UnusableError
from dp_coordinator.recorder.replay import Runner
from dp_coordinator.recorder.timeline import Timeline
from dp_coordinator.texts import shown
from dp_coordinator.web.app import create_app
from dp_coordinator.web.server import WebServer
from dp_coordinator.web.settings import WebSettings
from dp_coordinator.web.stream.broadcaster import Broadcaster

log = logging.getLogger("dp_coordinator")

STEP_S = 0.05
"""Real seconds between two states."""
LEAD_S = 60.0
"""Seconds of the past that are drawn behind a moment that was jumped to."""
LEAD_STEP_S = 0.1
BUDGET_S = 0.04
"""Real seconds of work after which requests get a look, however much of the recording is due."""
REFUSAL = "this is a recording: nothing can be started in it"


class RecordingPlayer:
    """Runs the core over a recording, and keeps a mailbox as the loop does. The recording has the event log itself."""

    def __init__(self, timeline: Timeline, name: str, header: dict[str, object], *, speed: float) -> None:
        self._timeline = timeline
        self._name = name
        self._speed = speed
        self._paused = False
        self._jumps = 0
        self._position = timeline.first_at
        self._since = time.monotonic()
        self._runner = Runner()
        self._todo: Iterator[tuple[float, CheckpointBody | RecordedInput]] = iter(())
        self._next: tuple[float, CheckpointBody | RecordedInput] | None = None
        self._log: Iterator[RecordedLogEntry] = iter(())
        self._next_entry: RecordedLogEntry | None = None
        self._last_seq = 0
        """The recorded number of the entry that was shown last."""
        self.broadcaster: Broadcaster | None = None
        """Who must know of jumps."""
        self._rewind(timeline.first_at)
        assert self._runner.core is not None, "a timeline begins with a state"
        self.mailbox = _mailbox(self._runner.core.snapshot(timeline.first_at), header)
        self.mailbox.player, self.mailbox.clock = self, self.now
        self.mailbox.wall_offset = lambda: timeline.wall_offset
        self.mailbox.started_at = timeline.first_at
        self._show(timeline.first_at)

    # -- what may be asked -----------------------------------------------------------------------------------------

    def now(self) -> float:
        """The moment that is shown, in the recording's monotonic seconds."""
        if self._paused:
            return self._position
        return min(self._position + (time.monotonic() - self._since) * self._speed, self._timeline.last_at)

    def position(self) -> Playback:
        """Where it is."""
        timeline, now = self._timeline, self.now()
        return Playback(
            name=self._name,
            at=round(now + timeline.wall_offset, 3),
            position_s=round(now - timeline.first_at, 3),
            duration_s=round(timeline.last_at - timeline.first_at, 3),
            speed=self._speed,
            paused=self._paused or now >= timeline.last_at,
        )

    def play(self, *, speed: float | None, paused: bool | None, position_s: float | None) -> None:
        """Change what is given; None leaves it as it is. At the end, playing on begins anew."""
        self._position, self._since = self.now(), time.monotonic()
        self._speed = self._speed if speed is None else speed
        self._paused = self._paused if paused is None else paused
        if position_s is None and paused is False and self._position >= self._timeline.last_at:
            position_s = 0.0
        if position_s is not None:
            self._jump(min(self._timeline.first_at + position_s, self._timeline.last_at))

    # -- playing ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Play until cancelled."""
        self._since = time.monotonic()  # nobody could see anything before
        while True:
            self.step()
            await asyncio.sleep(STEP_S)

    def step(self) -> None:
        """Show what is due now."""
        now, until = self.now(), time.monotonic() + BUDGET_S
        if not self._feed(now, until):  # the machine is too slow for this speed: time waits
            assert self._next is not None
            self._position, self._since = min(now, self._next[0]), time.monotonic()
        self._show(self.now())

    def _jump(self, at: float) -> None:
        """Show another moment: the core is run anew from a state before it, and the page begins anew."""
        self._jumps += 1
        self.mailbox.log.clear()
        self.mailbox.counters = Counters()
        self.mailbox.started_at = self._timeline.first_at - self._jumps  # by this the page sees that numbers begin anew
        if self.broadcaster is not None:
            self.broadcaster.begin_anew()
        lead = max(at - LEAD_S, self._timeline.first_at)
        self._rewind(lead)
        for number in range(int((at - lead) / LEAD_STEP_S) + 1):
            self._look_at(lead + number * LEAD_STEP_S)
        self._position, self._since = at, time.monotonic()
        self._look_at(at)

    def _look_at(self, now: float) -> None:
        self._feed(now)
        self._show(now)
        if self.broadcaster is not None:
            self.broadcaster.sample(now)

    def _rewind(self, at: float) -> None:
        self._runner = Runner()
        self._todo, self._log = self._timeline.from_before(at), iter(self._timeline.log)
        first = next(self._todo)
        assert isinstance(first[1], CheckpointBody), "a part begins with a state"
        self._runner.take_checkpoint(first[1])
        self._next, self._next_entry, self._last_seq = next(self._todo, None), next(self._log, None), 0

    def _feed(self, now: float, until: float = math.inf) -> bool:
        """Give the core what came up to `now`; False when that was not done by `until` (real seconds)."""
        while self._next is not None and self._next[0] <= now:
            try:
                self._put(self._next[1])
                self._next = next(self._todo, None)
            except (UnusableError, CutOffError, DamagedError) as error:
                log.warning("the recording cannot be shown from here on: %s", error)
                self._next = None
            if time.monotonic() > until and self._next is not None:
                return False
        return True

    def _put(self, item: CheckpointBody | RecordedInput) -> None:
        if isinstance(item, CheckpointBody):
            self._runner.take_checkpoint(item)
        else:
            given, effects, _ = self._runner.put(item)
            count(self.mailbox.counters, given, effects)

    def _show(self, now: float) -> None:
        while self._next_entry is not None and self._next_entry.at <= now:
            entry = self._next_entry
            self.mailbox.log.append(entry.at, entry.kind, entry.fields, grown=0 < entry.first_seq <= self._last_seq)
            self._last_seq = entry.seq
            if entry.kind == "bad_frame":
                fields = entry.fields
                self.mailbox.counters.count_frame(str(fields.get("channel")), str(fields.get("verdict")))
            self._next_entry = next(self._log, None)
        assert self._runner.core is not None
        self.mailbox.snapshot = replace(self._runner.core.snapshot(now), start_blocked=REFUSAL)
        self.mailbox.loop_alive_at = now


def _mailbox(snapshot: Snapshot, header: dict[str, object]) -> Mailbox:
    where = header.get("endpoints")
    known = where if isinstance(where, dict) else {}
    ends = Endpoints(*(shown(str(known.get(name, ""))) for name in ("front_publish", "back_output", "back_publish")))
    interval, restarts = header.get("min_stats_update_interval_ms"), header.get("restarts")
    return Mailbox(
        snapshot,
        ends,
        min_stats_update_interval=interval / 1000 if _is_number(interval) else 0.1,
        restarts=restarts if _is_number(restarts) else 0,
    )


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value <= LARGEST


def show(player: RecordingPlayer, settings: WebSettings, listener: socket.socket) -> None:
    """Serve until a signal ends it (`endings`)."""
    app = create_app(player.mailbox, settings)
    player.broadcaster = app.state.broadcaster
    server = WebServer(app)

    async def serve() -> None:
        playing = asyncio.create_task(player.run())
        playing.add_done_callback(lambda task: _end(server, task))
        await server.serve(sockets=[listener])
        playing.cancel()

    with told_to_end() as told:
        told.then(lambda: setattr(server, "should_exit", True))
        asyncio.run(serve())


def _end(server: WebServer, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the player met a defect in dp-coordinator; please report it", exc_info=task.exception())
    server.should_exit = True
