"""Who is there: which connections there are, which engine's each is, and which engine has gone.

A subscription does not say whose it is, but an engine's reports do, and they come through a connection of its own. An
engine has two, one to back_output and one to back_publish; both are of one process, and come and go together
(vllm/v1/engine/core.py, `process_input_sockets` and `process_output_sockets`). So:

- *How many* engines there are is counted on back_publish, where every engine subscribes at once: connections that say
  that they are XSUB. A SUB is a tap, unless its process also has a connection to back_output: then it is an engine of
  somebody's own. One whose place at back_output was taken by a newer connection is a link that died without a word.
- *Which* engine a connection is comes from what it reported, from its process's title, or, for back_publish, from the
  process that it shares with a connection to back_output.
- *Who has gone* follows from both: while engines are missing, those whose connection ended. When none is missing,
  nobody is gone, even though an idle engine that reconnected has not reported yet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from dp_coordinator.core import load, observation
from dp_coordinator.core.effects import Effect, LogEvent
from dp_coordinator.core.events import Peer, PeerConnected, PeerDisconnected, PeerIdentified
from dp_coordinator.core.snapshot import Connection, EndedConnection, PeersView
from dp_coordinator.core.state import CoreState, Peers
from dp_coordinator.core.whose import (
    engine_of,
    engines,
    engines_by_pid,
    is_tap_at_engines,
    kind_of,
    own_engines,
)
from dp_coordinator.words import Channel, PeerKind

LAST_KEPT = 8
"""Of those that have gone."""
CLOSED = "connection closed"
"""The other end closed it, or its process ended: what comes in its place is another process."""


def connected(state: CoreState, event: PeerConnected, now: float) -> Sequence[Effect]:
    """Take up a connection."""
    peers, peer = state.peers, event.peer
    peers.changes += 1
    peers.connected[peer.id] = Connection(peer, now)
    peers.taps_at_engines += is_tap_at_engines(peer)
    if peer.channel is Channel.BACK_OUTPUT:
        peers.outputs += 1
        if peer.engine_index is not None:
            return _identify(state, peer.id, peer.engine_index, now)
        return ()
    if kind_of(peers, peer) is PeerKind.TAP:
        return (LogEvent("tap_connected", {"channel": peer.channel.value, "peer": peer.name}),)
    if peer.channel is Channel.FRONT_PUBLISH:
        peers.front_ends += 1
        return (LogEvent("front_end_subscribed", {"front_ends": peers.front_ends, "peer": peer.name}),)
    peers.subscriptions += peer.socket_type == "XSUB"
    _found_again(peers, peer)
    came = LogEvent("engine_subscribed", _count(state) | {"engine": engine_of(peers, peer), "peer": peer.name})
    return (came, *_all_back(state, now))


def _found_again(peers: Peers, peer: Peer) -> None:
    """An engine came, from where one was that is missed."""
    for ended in peers.lost_unnamed:
        if (ended.peer.host, ended.peer.pid) == (peer.host, peer.pid):
            peers.lost_unnamed = [each for each in peers.lost_unnamed if each is not ended]
            return


def identified(state: CoreState, event: PeerIdentified, now: float) -> Sequence[Effect]:
    """A connection reported as an engine."""
    connection = state.peers.connected.get(event.peer_id)
    if connection is None or connection.peer.channel is not Channel.BACK_OUTPUT:
        return ()
    state.peers.changes += 1
    return _identify(state, event.peer_id, event.engine_index, now)


def disconnected(state: CoreState, event: PeerDisconnected, now: float) -> Sequence[Effect]:
    """A connection has ended, or no longer listens."""
    peers = state.peers
    connection = peers.connected.get(event.peer_id)
    if connection is None:
        return ()
    peers.changes += 1
    peer = connection.peer
    pids = {} if peer.pid is None else engines_by_pid(peers)  # a rack that goes is two thousand connections
    kind, engine = kind_of(peers, peer), engine_of(peers, peer, pids)
    del peers.connected[peer.id]
    peers.taps_at_engines -= is_tap_at_engines(peer)
    ended = EndedConnection(peer, connection.since, now, event.why)
    about: dict[str, object] = {"peer": peer.name, "why": event.why}
    if peer.channel is Channel.BACK_OUTPUT:
        peers.outputs -= 1
        return _output_ended(state, ended, about, now)
    if kind is PeerKind.TAP:
        return (LogEvent("tap_disconnected", {"channel": peer.channel.value} | about),)
    if peer.channel is Channel.FRONT_PUBLISH:
        peers.front_ends -= 1
        peers.front_ends_left = [*peers.front_ends_left, ended][-LAST_KEPT:]
        return (LogEvent("front_end_unsubscribed", {"front_ends": peers.front_ends} | about),)
    peers.subscriptions -= peer.socket_type == "XSUB"
    if engine is None:
        peers.lost_unnamed = [*peers.lost_unnamed, ended][-LAST_KEPT:]
    elif engine < state.engine_count:  # one beyond it is missed by nobody
        peers.lost.setdefault(engine, ended)
    return (LogEvent("engine_unsubscribed", _count(state) | {"engine": engine} | about),)


def fills_gap(state: CoreState, peer: Peer) -> bool:
    """Whether a member's connection that was just made takes the place of one that ended."""
    peers = state.peers
    if kind_of(peers, peer) is PeerKind.TAP or not peers.broken.get(peer.channel) or _is_beyond(state, peer):
        return False
    peers.broken[peer.channel] -= 1
    return True


def leaves_gap(state: CoreState, peer: Peer) -> bool:
    """Note that a member's connection is about to end; whether another one may have been made in its place already.

    A dead link is noticed late: an engine's reports tell of the new one, else a newer one from its host may be it (over
    ipc no link dies). What a probe connected leaves none.
    """
    peers, kind = state.peers, kind_of(state.peers, peer)
    if kind is PeerKind.TAP or _is_beyond(state, peer):
        return False
    if not _is_a_probes(state, peer):
        peers.broken[peer.channel] = peers.broken.get(peer.channel, 0) + 1
    engine = peers.reports_as.get(peer.id)
    if engine is not None:
        return peers.newest.get(engine) != peer.id
    if peer.channel is Channel.BACK_OUTPUT and len(peers.newest) >= state.engine_count:
        return False  # it is of none that it could be
    return bool(peer.host) and any(
        other.host == peer.host and other.id > peer.id and other.socket_type == peer.socket_type
        for other in _others(peers, peer)
    )


def _others(peers: Peers, peer: Peer) -> Iterator[Peer]:
    """Who else is connected where this one is."""
    return (c.peer for c in peers.connected.values() if c.peer.channel is peer.channel and c.peer is not peer)


def _is_a_probes(state: CoreState, peer: Peer) -> bool:
    """Whether a connection is one more than the engines have, and of none of them as far as can be told.

    To back_output: it has said nothing. To back_publish: from there more listen than have a connection to back_output.
    """
    peers = state.peers
    if peer.channel is Channel.BACK_OUTPUT:
        return engine_of(peers, peer) is None and peers.outputs > state.engine_count
    if peer.channel is Channel.FRONT_PUBLISH or engines(peers) <= state.engine_count:
        return False
    beside = [c.peer.channel for c in peers.connected.values() if (c.peer.host, c.peer.pid) == (peer.host, peer.pid)]
    return beside.count(Channel.BACK_PUBLISH) > beside.count(Channel.BACK_OUTPUT)


def _is_beyond(state: CoreState, peer: Peer) -> bool:
    """Whether it is of a rank that joins, or was told to go: none of the others waits for it."""
    engine = engine_of(state.peers, peer)
    return engine is not None and engine >= state.engine_count


def resized(state: CoreState) -> None:
    """The deployment has another size: engines beyond it were removed, and are missed by nobody."""
    peers = state.peers
    peers.changes += 1
    for engine in [engine for engine in peers.lost if engine >= state.engine_count]:
        del peers.lost[engine]
    if engines(peers) >= state.engine_count:
        peers.lost_unnamed = []


# -- whose is it -------------------------------------------------------------------------------------------------------


def _identify(state: CoreState, peer_id: int, engine: int, now: float) -> Sequence[Effect]:
    peers = state.peers
    changed = peers.reports_as.get(peer_id, engine) != engine
    if changed:
        _leave(peers, peer_id)
    peers.reports_as[peer_id] = engine
    before = peers.newest.get(engine)
    if before is not None and before != peer_id:
        # One that had lost its place, and reports again, is alive: both are.
        if changed or peer_id in peers.replaced or not _takes_the_place(state, engine, before, peer_id):
            peers.rivals[engine] = sorted({before, peer_id, *peers.rivals.get(engine, ())})
        peers.replaced[before] = engine
    peers.replaced.pop(peer_id, None)
    peers.newest[engine] = peer_id
    ended = peers.lost.pop(engine, None)
    if ended is None:
        return ()
    return _returned(state, engine, ended, peers.connected[peer_id].peer, now)


def _takes_the_place(state: CoreState, engine: int, before: int, peer_id: int) -> bool:
    """Whether a connection that begins to report as an engine can be its new link; else both are alive.

    Over ipc no link dies unseen, so that two processes are two engines. And a new link is one more than there should
    be, as the dead one is still counted.
    """
    peers = state.peers
    one, other = peers.connected[before], peers.connected[peer_id].peer
    if state.scaled.leaves(engine, one.since):
        return True
    if one.peer.pid is not None:
        return one.peer.pid == other.pid
    return peers.outputs > state.engine_count


def _leave(peers: Peers, peer_id: int) -> int | None:
    """A connection no longer reports as its engine; returns which that was."""
    engine = peers.reports_as.pop(peer_id, None)
    peers.replaced.pop(peer_id, None)
    if engine is None:
        return None
    if peer_id in (rivals := peers.rivals.get(engine, [])):
        peers.rivals[engine] = [each for each in rivals if each != peer_id]
        if len(rivals) <= 2:
            del peers.rivals[engine]
    if peers.newest.get(engine) == peer_id:
        del peers.newest[engine]
        before = max((older for older, whose in peers.replaced.items() if whose == engine), default=None)
        if before is not None:  # a stranger had its place, or it is a dead link, which will be noticed
            del peers.replaced[before]
            peers.newest[engine] = before
    return engine


def _output_ended(state: CoreState, ended: EndedConnection, about: dict[str, object], now: float) -> Sequence[Effect]:
    peers = state.peers
    engine = _leave(peers, ended.peer.id)
    if engine is None:
        return ()
    gone = LogEvent("engine_disconnected", {"engine": engine} | about)
    if engine >= state.engine_count:
        return (gone,)
    if engine not in peers.newest:
        peers.lost[engine] = ended
        return (gone,)
    other, heard_at = peers.connected[peers.newest[engine]], state.load.reported_at[engine]
    if engine in peers.rivals or heard_at is None or heard_at >= other.since:
        return (gone,)
    return (gone, *_returned(state, engine, ended, other.peer, now))  # what is known is of the one that has ended


# -- how many, and who has gone ----------------------------------------------------------------------------------------


def _count(state: CoreState) -> dict[str, object]:
    return {"subscribed": engines(state.peers), "of": state.engine_count}


def gone(state: CoreState) -> tuple[dict[int, EndedConnection], int]:
    """Engines that have gone, by index, and how many more are missing that nobody can name.

    Where more connections ended than engines are missing, some are back and have not said so yet: then none is named
    but those whose process is surely not among the subscribers.
    """
    peers = state.peers
    if not state.ready or (not peers.lost and engines(peers) >= state.engine_count):
        return {}, 0
    listening = {c.peer.pid for c in peers.connected.values() if c.peer.channel is Channel.BACK_PUBLISH}
    named = {
        engine: ended
        for engine, ended in sorted(peers.lost.items())
        if ended.peer.pid is None or ended.peer.pid not in listening
    }
    missing = _missing(state, len(named))
    if len(named) > missing:
        return {}, missing
    return named, missing - len(named)


def _missing(state: CoreState, lost: int) -> int:
    """How many engines are missing. `lost` are known to have ended: who joins or leaves hides none of these."""
    missing = state.engine_count - engines(state.peers)
    return max(0, missing, min(lost, missing + _beyond(state)) if lost else 0)


def _beyond(state: CoreState) -> int:
    """How many of those that subscribe are known as ranks beyond the engine count."""
    peers = state.peers
    ranks: dict[tuple[str, int | None], set[int]] = defaultdict(set)
    listening: Counter[tuple[str, int | None]] = Counter()
    for peer in (c.peer for c in peers.connected.values()):
        engine = engine_of(peers, peer)
        if engine is not None and engine >= state.engine_count:
            ranks[peer.host, peer.pid].add(engine)
        listening[peer.host, peer.pid] += peer.channel is Channel.BACK_PUBLISH
    return sum(min(len(those), listening[place]) for place, those in ranks.items())


def _unnamed(state: CoreState, named: Mapping[int, EndedConnection], unnamed: int) -> tuple[EndedConnection, ...]:
    """The subscriptions of engines that are missing and cannot be named, where there are as many as that."""
    hosts = {ended.peer.host for ended in named.values() if ended.peer.channel is Channel.BACK_OUTPUT}
    left = tuple(each for each in state.peers.lost_unnamed if each.peer.host not in hosts)
    return left if len(left) == unnamed else ()


def _all_back(state: CoreState, now: float) -> Sequence[Effect]:
    """Once no engine is missing, those that were lost are there again, though they may not have reported yet."""
    peers = state.peers
    if engines(peers) < state.engine_count or _missing(state, len(peers.lost)):
        return ()
    peers.lost_unnamed = []
    effects: list[Effect] = []
    lost, peers.lost = peers.lost, {}
    for engine, ended in sorted(lost.items()):
        effects.extend(_returned(state, engine, ended, None, now))
    return effects


def _returned(state: CoreState, engine: int, ended: EndedConnection, peer: Peer | None, now: float) -> Sequence[Effect]:
    """An engine is there again: the same process, whose counts are as it reported them, or another one in its place.

    Another one begins with nothing. vLLM's coordinator would publish the old counts until its first report, and
    front-ends would send it no request that it could report.
    """
    pids = {c.peer.pid for c in state.peers.connected.values()} if peer is None else {peer.pid}
    same = ended.why != CLOSED if ended.peer.pid is None else ended.peer.pid in pids
    # Of the two connections of a process only the one to back_publish was lost: the process is there.
    if same or (ended.peer.channel is Channel.BACK_PUBLISH and engine in state.peers.newest):
        return ()
    observation.unconfirm(state, engine)
    if load.forget(state.load, engine, now):
        return (LogEvent("engine_replaced", {"engine": engine, "peer": None if peer is None else peer.name}),)
    return ()


# -- for viewers -------------------------------------------------------------------------------------------------------


def view(state: CoreState) -> PeersView:
    """The same, frozen."""
    peers = state.peers
    named, unnamed = gone(state)
    pids, own = engines_by_pid(peers), own_engines(peers)
    connections = [(c, kind_of(peers, c.peer, own), engine_of(peers, c.peer, pids)) for c in peers.connected.values()]
    there = engines(peers)
    surplus = max(0, there + len(named) - state.engine_count)
    beyond = [(engine, c.since) for c, _, engine in connections if engine is not None and engine >= state.engine_count]
    leaving = {engine for engine, since in beyond if state.scaled.leaves(engine, since)}
    joining = tuple(sorted({e for e, since in beyond if not state.scaled.leaves(e, since)})[:surplus])
    return PeersView(
        connections=tuple(connections),
        gone=named,
        missing_unnamed=unnamed,
        surplus=max(0, surplus - len(joining) - len(leaving)),
        joining=joining,
        rivals={
            engine: tuple(peers.connected[peer_id].peer for peer_id in both) for engine, both in peers.rivals.items()
        },
        unnamed=_unnamed(state, named, unnamed),
        front_ends_left=tuple(peers.front_ends_left),
        engines=there,
    )
