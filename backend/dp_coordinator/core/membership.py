"""What follows when a connection is made or ends: READY once all engines are there, START where one may be lost."""

from __future__ import annotations

from collections.abc import Sequence

from dp_coordinator.core import load, moving, observation, peers, recovery, reporting, scaling, whose
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.effects import Effect, LogEvent, PublishWaveState, SendReady
from dp_coordinator.core.events import EngineCountChanged, Peer, PeerConnected, PeerDisconnected
from dp_coordinator.core.state import CoreState
from dp_coordinator.words import Channel


def connected(state: CoreState, dialect: Dialect, event: PeerConnected, now: float) -> Sequence[Effect]:
    """A connection was made."""
    if event.peer.id in state.peers.connected:
        return ()
    before = whose.engines(state.peers)
    record = peers.connected(state, event, now)
    again = _may_ask(dialect, event.peer) and peers.fills_gap(state, event.peer)
    if whose.engines(state.peers) > before:
        return _engine_came(state, dialect, record, again=again, now=now)
    mended = _mend(state, dialect, now) if again else ()
    if event.peer.channel is not Channel.FRONT_PUBLISH or not state.wave_coordination or state.recovery is None:
        return (*mended, *record)
    # What it last heard may be lost wave changes ago, and the next load is up to five seconds away.
    return (*mended, *record, PublishWaveState(state.waves.current_wave, state.waves.engines_running))


def disconnected(state: CoreState, dialect: Dialect, event: PeerDisconnected, now: float) -> Sequence[Effect]:
    """A connection has ended, or no longer listens."""
    connection = state.peers.connected.get(event.peer_id)
    if connection is None:
        return ()
    replaced = _may_ask(dialect, connection.peer) and peers.leaves_gap(state, connection.peer)
    record = peers.disconnected(state, event, now)
    return (*_mend(state, dialect, now), *record) if replaced else record


def become_ready(state: CoreState, dialect: Dialect, now: float) -> Sequence[Effect]:
    """Send READY, if that was not done and no engine is missing."""
    if state.ready or whose.engines(state.peers) < state.engine_count:
        return ()
    state.ready = True
    load.begin(state.load, now)
    sent = LogEvent("ready_sent", {"engines": state.engine_count})
    return (SendReady(), sent, *moving.release(state, dialect, now))


def scale(state: CoreState, dialect: Dialect, event: EngineCountChanged, now: float) -> Sequence[Effect]:
    """A front-end says how many engines there are now; one that says too many waits for them."""
    refusal = scaling.refusal(state, event.engine_count, now)
    return resize(state, dialect, event.engine_count, now) if refusal is None else (refusal,)


def resize(state: CoreState, dialect: Dialect, engine_count: int, now: float) -> Sequence[Effect]:
    """There are so many engines from now on."""
    before = state.engine_count
    state.engine_count = engine_count
    load.resize(state.load, engine_count, now)
    peers.resized(state)
    early = scaling.resized(state, before, now)
    if engine_count > before and dialect.growth_clears_running and state.waves.engines_running:
        # New engines are at wave 0. A front-end told "running" would send no notice with a request to one of them, and
        # nothing would wake the others.
        state.waves.engines_running = False
        observation.stopped(state, now)
    record = LogEvent("engine_count_changed", {"before": before, "after": engine_count})
    reported = reporting.take(state, dialect, early, now) if early else ()
    return (record, *reported, *become_ready(state, dialect, now), *recovery.rejoin(state, now))


def _engine_came(
    state: CoreState, dialect: Dialect, record: Sequence[Effect], *, again: bool, now: float
) -> Sequence[Effect]:
    if not state.ready:
        return (*record, *become_ready(state, dialect, now), *_scaled(state, dialect, now))
    # To all, for a publication cannot be addressed: engines ignore any READY but their first, from 0.18 on.
    ready = (SendReady(),) if dialect.ready_to_late_subscribers else ()
    rejoined = recovery.rejoin(state, now)
    mended = rejoined or (_mend(state, dialect, now) if again else ())
    return (*ready, *record, *mended, *_scaled(state, dialect, now))


def _scaled(state: CoreState, dialect: Dialect, now: float) -> Sequence[Effect]:
    count = scaling.due(state, now)
    return () if count is None else resize(state, dialect, count, now)


def _may_ask(dialect: Dialect, peer: Peer) -> bool:
    """Whether what was lost on its way may be a START, or have asked for one. From 0.33 on no front-end does."""
    return peer.channel is not Channel.FRONT_PUBLISH or dialect.notices_accepted


def _mend(state: CoreState, dialect: Dialect, now: float) -> Sequence[Effect]:
    # Before 0.18 an engine that comes again may be a new process, and READY cannot be sent to it: START kills it.
    return recovery.mend(state, now) if dialect.ready_to_late_subscribers else ()
