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

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from itertools import chain
from types import MappingProxyType

from dp_coordinator.core import load
from dp_coordinator.core.effects import Effect, LogEvent
from dp_coordinator.core.events import Peer, PeerConnected, PeerDisconnected, PeerIdentified
from dp_coordinator.core.snapshot import Connection, EndedConnection, PeersView
from dp_coordinator.core.state import CoreState, Peers
from dp_coordinator.words import Channel, PeerKind

CLOSED = "connection closed"
"""The other end closed it, or its process ended: what comes in its place is another process."""


def connected(state: CoreState, event: PeerConnected, now: float) -> Sequence[Effect]:
    """Take up a connection."""
    peers, peer = state.peers, event.peer
    peers.changes += 1
    peers.connected[peer.id] = Connection(peer, now)
    peers.taps_at_engines += _is_tap_at_engines(peer)
    if peer.channel is Channel.BACK_OUTPUT:
        if peer.engine_index is not None:
            return _identify(state, peer.id, peer.engine_index, now)
        return ()
    if kind_of(peers, peer) is PeerKind.TAP:
        return (LogEvent("tap_connected", {"channel": peer.channel.value, "peer": peer.name}),)
    if peer.channel is Channel.FRONT_PUBLISH:
        peers.front_ends += 1
        return (LogEvent("front_end_subscribed", {"front_ends": peers.front_ends, "peer": peer.name}),)
    peers.subscriptions += peer.socket_type == "XSUB"
    came = LogEvent("engine_subscribed", _count(state) | {"engine": engine_of(peers, peer), "peer": peer.name})
    return (came, *_all_back(state, now))


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
    kind, engine = kind_of(peers, peer), engine_of(peers, peer, engines_by_pid(peers))
    del peers.connected[peer.id]
    peers.taps_at_engines -= _is_tap_at_engines(peer)
    ended = EndedConnection(peer, connection.since, now, event.why)
    about: dict[str, object] = {"peer": peer.name, "why": event.why}
    if peer.channel is Channel.BACK_OUTPUT:
        return _output_ended(state, ended, about)
    if kind is PeerKind.TAP:
        return (LogEvent("tap_disconnected", {"channel": peer.channel.value} | about),)
    if peer.channel is Channel.FRONT_PUBLISH:
        peers.front_ends -= 1
        return (LogEvent("front_end_unsubscribed", {"front_ends": peers.front_ends} | about),)
    peers.subscriptions -= peer.socket_type == "XSUB"
    if engine is not None:
        peers.lost.setdefault(engine, ended)
    return (LogEvent("engine_unsubscribed", _count(state) | {"engine": engine} | about),)


def fills_gap(peers: Peers, peer: Peer) -> bool:
    """Whether a member's connection that was just made takes the place of one that ended."""
    if kind_of(peers, peer) is PeerKind.TAP or not peers.broken.get(peer.channel):
        return False
    peers.broken[peer.channel] -= 1
    return True


def leaves_gap(state: CoreState, peer: Peer) -> bool:
    """Note that a member's connection is about to end; whether another one may have been made in its place already.

    A dead link is noticed late: an engine's reports tell of the new one, else a newer one from its host may be it (over
    ipc no link dies). Where every engine has a connection to back_output, one more that said nothing is a probe's.
    """
    peers, kind = state.peers, kind_of(state.peers, peer)
    if kind is PeerKind.TAP:
        return False
    there = [c.peer for c in peers.connected.values() if c.peer.channel is peer.channel and c.peer is not peer]
    if kind is not PeerKind.UNKNOWN or len(there) < state.engine_count:
        peers.broken[peer.channel] = peers.broken.get(peer.channel, 0) + 1
    engine = peers.reports_as.get(peer.id)
    if engine is not None:
        return peers.newest.get(engine) != peer.id
    return bool(peer.host) and any(
        other.host == peer.host and other.id > peer.id and other.socket_type == peer.socket_type for other in there
    )


def _is_tap_at_engines(peer: Peer) -> bool:
    return peer.channel is Channel.BACK_PUBLISH and peer.socket_type != "XSUB"


def resized(state: CoreState) -> None:
    """The deployment has another size: engines beyond it were removed, and are missed by nobody."""
    peers = state.peers
    peers.changes += 1
    for engine in [engine for engine in peers.lost if engine >= state.engine_count]:
        del peers.lost[engine]


# -- whose is it -------------------------------------------------------------------------------------------------------


def kind_of(peers: Peers, peer: Peer, own: Set[int] | None = None) -> PeerKind:
    """What a connection is. `own`: engines of somebody's own, where many are asked for."""
    if peer.channel is Channel.BACK_OUTPUT:
        return PeerKind.ENGINE if engine_of(peers, peer) is not None else PeerKind.UNKNOWN
    if peer.socket_type == "XSUB":
        return PeerKind.ENGINE if peer.channel is Channel.BACK_PUBLISH else PeerKind.FRONT_END
    if not _is_tap_at_engines(peer):
        return PeerKind.TAP
    return PeerKind.ENGINE if peer.id in (_own_engines(peers) if own is None else own) else PeerKind.TAP


def engine_of(peers: Peers, peer: Peer, pids: Mapping[int, int | None] = MappingProxyType({})) -> int | None:
    """The engine whose connection this is, where that is known; `pids` tells it of processes."""
    if peer.id in peers.reports_as:
        return peers.reports_as[peer.id]
    if peer.engine_index is not None or peer.channel is not Channel.BACK_PUBLISH or peer.pid is None:
        return peer.engine_index
    return pids.get(peer.pid)


def engines_by_pid(peers: Peers) -> dict[int, int | None]:
    """Process -> the engine that it is; None for one that is several."""
    found: dict[int, int | None] = {}
    reporting = ((peers.connected[peer_id].peer.pid, engine) for peer_id, engine in peers.reports_as.items())
    lost = ((ended.peer.pid, engine) for engine, ended in peers.lost.items())
    for pid, engine in chain(reporting, lost):
        if pid is not None:
            found[pid] = engine if found.get(pid, engine) == engine else None
    return found


class _Place:
    """What is connected from one process, where that is known, or else from one host."""

    def __init__(self) -> None:
        self.outputs = self.reporting = self.replaced = self.listening = 0
        self.taps: list[int] = []

    def own(self, *, process: bool) -> list[int]:
        """SUBs that are engines of somebody's own: of a host as many as report beyond its XSUBs."""
        return self.taps if process and self.outputs else self.taps[: max(0, self.reporting - self.listening)]

    def dead(self) -> int:
        """Subscriptions of links that died: those of engines that have a newer link, as far as there are too many."""
        return min(self.replaced, max(0, self.listening - (self.outputs - self.replaced)))


def _places(peers: Peers) -> dict[tuple[str, int | None], _Place]:
    places: dict[tuple[str, int | None], _Place] = defaultdict(_Place)
    for peer in (c.peer for c in peers.connected.values() if c.peer.channel is not Channel.FRONT_PUBLISH):
        place = places[peer.host, peer.pid]
        if peer.channel is Channel.BACK_OUTPUT:
            place.outputs += 1
            place.reporting += peer.id in peers.reports_as
            place.replaced += peer.id in peers.replaced and peers.replaced[peer.id] not in peers.rivals
        elif peer.socket_type == "XSUB":
            place.listening += 1
        else:
            place.taps.append(peer.id)
    return places


def _own_engines(peers: Peers) -> Set[int]:
    """SUBs to back_publish whose process has a connection to back_output as well, as far as can be told."""
    if not peers.taps_at_engines:
        return frozenset()
    return {own for (_, pid), place in _places(peers).items() for own in place.own(process=pid is not None)}


def _identify(state: CoreState, peer_id: int, engine: int, now: float) -> Sequence[Effect]:
    peers = state.peers
    peers.reports_as[peer_id] = engine
    before = peers.newest.get(engine)
    if before is not None and before != peer_id and before in peers.connected:
        if peer_id in peers.replaced:  # it had lost its place, and reports again: both are alive
            peers.rivals[engine] = [before, peer_id]
        peers.replaced[before] = engine
    peers.replaced.pop(peer_id, None)
    peers.newest[engine] = peer_id
    ended = peers.lost.pop(engine, None)
    if ended is None or engine >= state.engine_count:
        return ()
    return _returned(state, engine, ended, peers.connected[peer_id].peer, now)


def _output_ended(state: CoreState, ended: EndedConnection, about: dict[str, object]) -> Sequence[Effect]:
    peers, peer = state.peers, ended.peer
    engine = peers.reports_as.pop(peer.id, None)
    peers.replaced.pop(peer.id, None)
    if engine is None:
        return ()
    if peer.id in peers.rivals.get(engine, ()):
        del peers.rivals[engine]
    if peers.newest.get(engine) == peer.id:
        del peers.newest[engine]
        before = max((older for older, whose in peers.replaced.items() if whose == engine), default=None)
        if before is not None:  # a stranger had its place, or it is a dead link, which will be noticed
            del peers.replaced[before]
            peers.newest[engine] = before
        elif engine < state.engine_count:
            peers.lost[engine] = ended
    return (LogEvent("engine_disconnected", {"engine": engine} | about),)


# -- how many, and who has gone ----------------------------------------------------------------------------------------


def engines(peers: Peers) -> int:
    """How many engines there are."""
    if not peers.taps_at_engines and not peers.replaced:
        return peers.subscriptions
    there = peers.subscriptions
    for (_, pid), place in _places(peers).items():
        there += len(place.own(process=pid is not None)) - place.dead()
    return there


def _count(state: CoreState) -> dict[str, object]:
    return {"subscribed": engines(state.peers), "of": state.engine_count}


def gone(state: CoreState) -> tuple[dict[int, EndedConnection], int]:
    """Engines that have gone, by index, and how many more are missing that nobody can name.

    Where more connections ended than engines are missing, some are back and have not said so yet: then none is named
    but those whose process is surely not among the subscribers.
    """
    peers = state.peers
    missing = state.engine_count - engines(peers) if state.ready else 0
    if missing <= 0:
        return {}, 0
    listening = {c.peer.pid for c in peers.connected.values() if c.peer.channel is Channel.BACK_PUBLISH}
    named = {
        engine: ended
        for engine, ended in sorted(peers.lost.items())
        if ended.peer.pid is None or ended.peer.pid not in listening
    }
    if len(named) > missing:
        return {}, missing
    return named, missing - len(named)


def _all_back(state: CoreState, now: float) -> Sequence[Effect]:
    """Once no engine is missing, those that were lost are there again, though they may not have reported yet."""
    peers = state.peers
    if not peers.lost or engines(peers) < state.engine_count:
        return ()
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
    if load.forget(state.load, engine, now):
        return (LogEvent("engine_replaced", {"engine": engine, "peer": None if peer is None else peer.name}),)
    return ()


# -- for viewers -------------------------------------------------------------------------------------------------------


def view(state: CoreState) -> PeersView:
    """The same, frozen."""
    peers = state.peers
    named, unnamed = gone(state)
    pids, own = engines_by_pid(peers), _own_engines(peers)
    connections = [(c, kind_of(peers, c.peer, own), engine_of(peers, c.peer, pids)) for c in peers.connected.values()]
    surplus = max(0, engines(peers) - state.engine_count) if state.ready else 0
    leaving = {engine for c, _, engine in connections if engine is not None and state.scaled.leaves(engine, c.since)}
    beyond = {engine for _, _, engine in connections if engine is not None and engine >= state.engine_count}
    joining = tuple(sorted(beyond - leaving)[:surplus])
    return PeersView(
        connections=tuple(connections),
        gone=named,
        missing_unnamed=unnamed,
        surplus=max(0, surplus - len(joining) - len(leaving)),
        joining=joining,
        rivals={
            engine: tuple(peers.connected[peer_id].peer for peer_id in both) for engine, both in peers.rivals.items()
        },
    )
