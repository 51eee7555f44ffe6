"""Connections as tests make them: any engine, any front-end, or one that the test knows by name."""

from __future__ import annotations

from itertools import count

from dp_coordinator.core.events import Peer, PeerConnected, PeerDisconnected
from dp_coordinator.words import Channel

_ids = count(1_000)
_open: dict[Channel, list[int]] = {channel: [] for channel in Channel}


def connects(
    channel: Channel,
    number: int | None = None,
    *,
    socket_type: str = "XSUB",
    pid: int | None = None,
    title: str = "",
    engine_index: int | None = None,
    host: str = "10.0.0.1",
) -> PeerConnected:
    """One connection; `number` tells it from others where the test must know it."""
    number = next(_ids) if number is None else number
    _open[channel].append(number)
    where = ("", "ipc") if pid is not None else (host, f"{host}:{number}")
    return PeerConnected(Peer(number, channel, *where, socket_type, pid, title, engine_index))


def disconnects(channel: Channel, number: int | None = None, why: str = "connection closed") -> PeerDisconnected:
    """That connection ends, or the one that was made last."""
    return PeerDisconnected(_open[channel].pop() if number is None else number, why)


def engine_subscribes() -> PeerConnected:
    """One more engine."""
    return connects(Channel.BACK_PUBLISH)


def engine_unsubscribes() -> PeerDisconnected:
    """The engine that came last goes."""
    return disconnects(Channel.BACK_PUBLISH)


def front_end_subscribes() -> PeerConnected:
    """One more front-end."""
    return connects(Channel.FRONT_PUBLISH)


def front_end_unsubscribes() -> PeerDisconnected:
    """The front-end that came last goes."""
    return disconnects(Channel.FRONT_PUBLISH)
