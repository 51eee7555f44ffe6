"""`watch`: the page, REST, metrics and alarms on sources alone. No coordinator: nothing can be started.

One thread: the sources are asked on the web layer's event loop. What they tell makes the snapshot that a coordinator's
core would make otherwise, without any report in it; `beside` fills it as it does where engines report nothing.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace

from dp_coordinator.core.snapshot import EngineColumns, PeersView, Snapshot, Wave, WaveEvidence
from dp_coordinator.endings import told_to_end
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import Endpoints
from dp_coordinator.options import SourceOptions
from dp_coordinator.sourced import SourcesView, TappedView
from dp_coordinator.sources.asking import Sources
from dp_coordinator.web.app import create_app
from dp_coordinator.web.server import WebServer
from dp_coordinator.web.settings import WebSettings
from dp_coordinator.words import DeploymentState, TargetState, WaveCause

REFUSAL = "nothing can be started here: this only watches"
ALIVE_EVERY_S = 0.5
WAVES_KEPT = 512
_NOBODY = PeersView((), {}, 0, 0, (), {})


class Watched:
    """What the sources tell, as a mailbox that a web layer can be put over."""

    def __init__(self, options: SourceOptions) -> None:
        now = time.monotonic()
        self._waves: tuple[Wave, ...] = ()
        self._since = DeploymentState.WAITING, now
        nothing = _snapshot(SourcesView(), now)
        self.mailbox = Mailbox(nothing, Endpoints("", "", ""), min_stats_update_interval=options.scrape_interval)
        self.mailbox.log.append(now, "watching_started", {})
        self.sources = Sources(options, self.mailbox, placed=True, told=self._take)

    async def run(self) -> None:
        """Ask, and vouch for what is shown, until cancelled."""
        asking = asyncio.create_task(self.sources.run())
        try:
            while not asking.done():
                self.mailbox.loop_alive_at = time.monotonic()
                await asyncio.wait((asking,), timeout=ALIVE_EVERY_S)
            asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def _take(self, view: SourcesView) -> None:
        now = time.monotonic()
        self._follow(view.tapped)
        made = _snapshot(view, now)
        if made.state is not self._since[0]:
            self._since = made.state, now
        self.mailbox.snapshot = replace(made, state_since=self._since[1], waves=self._waves, wave=self._evidence(view))
        self.mailbox.loop_alive_at = now

    def _follow(self, tapped: TappedView | None) -> None:
        """Take up the waves of somebody's coordinator, as far as they were seen."""
        newest = self._waves[-1] if self._waves else None
        if newest is not None and newest.ended_at is None:
            if tapped is not None and tapped.engines_running and tapped.current_wave == newest.number:
                return
            completed = tapped is not None and tapped.current_wave > newest.number
            at = time.monotonic() if tapped is None else tapped.at
            self._waves = (*self._waves[:-1], replace(newest, ended_at=at, completed=completed))
        if tapped is not None and tapped.engines_running:
            begun = Wave(tapped.current_wave, WaveCause.UNKNOWN, None, None, tapped.at, None, False, 0, 0)
            self._waves = (*self._waves, begun)[-WAVES_KEPT:]

    def _evidence(self, view: SourcesView) -> WaveEvidence:
        newest = self._waves[-1] if self._waves else None
        if newest is not None and newest.ended_at is None:
            return WaveEvidence(newest.number, announced_at=newest.started_at)
        return WaveEvidence(0 if view.tapped is None else view.tapped.current_wave)


def _snapshot(view: SourcesView, now: float) -> Snapshot:
    """What a core that heard nothing would say of as many engines."""
    told = [*view.ranks, *(rank for target in view.targets for rank in target.ranks)]
    count = max(told, default=0) + 1
    none = (None,) * count
    there = [rank for rank, each in view.ranks.items() if not each.silent]
    answers = any(target.state is TargetState.ANSWERS for target in view.targets)
    state = DeploymentState.SERVING if answers else DeploymentState.WAITING
    if view.tapped is not None:
        state = DeploymentState.RUNNING if view.tapped.engines_running else DeploymentState.PAUSED
    return Snapshot(
        at=now,
        dialect="",
        wave_coordination=view.tapped is not None,
        ready=answers,
        current_wave=0 if view.tapped is None else view.tapped.current_wave,
        engines_running=view.tapped is not None and view.tapped.engines_running,
        state=state,
        state_since=now,
        wave=WaveEvidence(0),
        start_blocked=REFUSAL,
        engine_count=count,
        engines_subscribed=len(there),
        front_ends=0,
        peers=_NOBODY,
        peers_version=0,
        waiting=None,
        running=None,
        engines=EngineColumns(none, none, none, none, none, none, (0,) * count),
        waves=(),
        actions=(),
        recovery=None,
        watched=True,
    )


def watch(
    options: SourceOptions, settings: WebSettings, listener: socket.socket, agent: socket.socket | None = None
) -> None:
    """Serve until a signal ends it (`endings`). `agent` listens for HAProxy's agent checks."""
    watched = Watched(options)
    server = WebServer(create_app(watched.mailbox, settings, [watched.run], agent))
    with told_to_end() as told:
        told.then(lambda: setattr(server, "should_exit", True))
        asyncio.run(server.serve(sockets=[listener]))
