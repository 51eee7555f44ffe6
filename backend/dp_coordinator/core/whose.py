"""Whose each connection is, and how many engines there are, as far as anything tells (peers.py has the evidence)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Set
from itertools import chain
from types import MappingProxyType

from dp_coordinator.core.events import Peer
from dp_coordinator.core.snapshot import Connection
from dp_coordinator.core.state import Peers
from dp_coordinator.words import Channel, PeerKind


def kind_of(peers: Peers, peer: Peer, own: Set[int] | None = None) -> PeerKind:
    """What a connection is. `own`: engines of somebody's own, where many are asked for."""
    if peer.channel is Channel.BACK_OUTPUT:
        return PeerKind.ENGINE if engine_of(peers, peer) is not None else PeerKind.UNKNOWN
    if peer.socket_type == "XSUB":
        return PeerKind.ENGINE if peer.channel is Channel.BACK_PUBLISH else PeerKind.FRONT_END
    if not is_tap_at_engines(peer):
        return PeerKind.TAP
    return PeerKind.ENGINE if peer.id in (own_engines(peers) if own is None else own) else PeerKind.TAP


def engine_of(peers: Peers, peer: Peer, pids: Mapping[int, int | None] = MappingProxyType({})) -> int | None:
    """The engine whose connection this is, where that is known; `pids` tells it of processes."""
    if peer.id in peers.reports_as:
        return peers.reports_as[peer.id]
    if peer.engine_index is not None or peer.channel is not Channel.BACK_PUBLISH or peer.pid is None:
        return peer.engine_index
    return pids.get(peer.pid)


def engines_by_pid(peers: Peers) -> dict[int, int | None]:
    """Process -> the engine that it is; None for one that is several: each subscribes, whatever reports for them."""
    found: dict[int, int | None] = {}
    there = Counter(peer.pid for peer in _listeners(peers))
    reporting = ((peers.connected[peer_id].peer.pid, engine) for peer_id, engine in peers.reports_as.items())
    lost = ((ended.peer.pid, engine) for engine, ended in peers.lost.items())
    for pid, engine in chain(reporting, lost):
        if pid is not None:
            found[pid] = engine if found.get(pid, engine) == engine and there[pid] <= 1 else None
    return found


def _listeners(peers: Peers) -> Iterator[Peer]:
    """Who subscribes as an engine, and who did of those that nobody could name."""
    yield from (c.peer for c in peers.connected.values() if c.peer.channel is Channel.BACK_PUBLISH)
    yield from (ended.peer for ended in peers.lost_unnamed)


def reporter(peers: Peers, engine: int) -> Connection | None:
    """The connection that reports as an engine."""
    peer_id = peers.newest.get(engine)
    return None if peer_id is None else peers.connected.get(peer_id)


class _Place:
    """What is connected from one process, where that is known, or else from one host."""

    def __init__(self) -> None:
        self.outputs = self.reporting = self.replaced = self.listening = 0
        self.taps: list[int] = []

    def own(self, *, process: bool) -> list[int]:
        """SUBs that are engines of somebody's own: of a host as many as report beyond its XSUBs."""
        return self.taps if process and self.outputs else self.taps[: max(0, self.reporting - self.listening)]

    def dead(self, *, process: bool) -> int:
        """Subscriptions of links that died: those of engines that have a newer link, as far as there are too many.

        Over ipc no link dies unseen.
        """
        return 0 if process else min(self.replaced, max(0, self.listening - (self.outputs - self.replaced)))


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


def own_engines(peers: Peers) -> Set[int]:
    """SUBs to back_publish whose process has a connection to back_output as well, as far as can be told."""
    if not peers.taps_at_engines:
        return frozenset()
    return {own for (_, pid), place in _places(peers).items() for own in place.own(process=pid is not None)}


def is_tap_at_engines(peer: Peer) -> bool:
    """A connection to back_publish that is none of vLLM's engines: a tap, or an engine of somebody's own."""
    return peer.channel is Channel.BACK_PUBLISH and peer.socket_type != "XSUB"


def engines(peers: Peers) -> int:
    """How many engines there are."""
    if not peers.taps_at_engines and not peers.replaced:
        return peers.subscriptions
    there = peers.subscriptions
    for (_, pid), place in _places(peers).items():
        there += len(place.own(process=pid is not None)) - place.dead(process=pid is not None)
    return there
