"""Who is connected, as REST tells it. Times named `*_at` are Unix seconds."""

from __future__ import annotations

import msgspec

from dp_coordinator import words


class EnginePeer(msgspec.Struct, frozen=True):
    """Where a rank is: its connection, or the one that it had."""

    name: str
    """For people: `pid 2919 VLLM::EngineCore_DP3`, or `10.0.0.7:51234`."""
    address: str
    """`10.0.0.7:51234`, or `ipc`."""
    host: str
    """Its IP address; empty for ipc, which is this machine."""
    pid: int | None
    title: str
    """Its process's title, where that can be read."""
    connected_at: float
    ended_at: float | None
    why: str | None
    """How the connection ended."""
    uid: int | None = None
    """Its process's user, where the kernel tells (ipc)."""


class Peer(EnginePeer, frozen=True, kw_only=True):
    """A connection to one of the coordinator's sockets."""

    socket: words.Channel
    kind: words.PeerKind
    engine: int | None
    """The rank that it is, where that is known."""


class PeerPage(msgspec.Struct, frozen=True):
    """`GET /api/v1/peers`: the connections that there are, oldest first, and those of engines that are gone."""

    version: int
    """Counts up with every change; `peers_version` of the state says when to ask again."""
    peers: list[Peer]
    places: list[int | None]
    """Of each rank which of `peers` it is: the one that its reports come by, where there is one."""
    told: list[str | None] = []
    """Of each rank whose numbers a source tells which one: its kind and where it is asked."""
