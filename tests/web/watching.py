"""Reading streams in tests, and hubs without a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from websockets.sync.client import ClientConnection

from dp_coordinator.mailbox import Mailbox
from dp_coordinator.web import messages as m
from dp_coordinator.web.history import Recorder
from dp_coordinator.web.settings import WebSettings
from dp_coordinator.web.stream import Hub, Viewer
from dp_coordinator.web.views import WallClock
from tests.web.builders import snapshot
from tests.web.rig import ENDPOINTS

_decode = msgspec.json.Decoder(m.StreamMessage | list[m.EventMessage]).decode


def messages_in(frame: str | bytes) -> list[Any]:
    """The messages of one text frame: one, or several events."""
    decoded = _decode(frame)
    return decoded if isinstance(decoded, list) else [decoded]


def decode(frame: str | bytes) -> Any:
    """The message of a frame that holds one."""
    (message,) = messages_in(frame)
    return message


def received(viewer: ClientConnection) -> Iterator[Any]:
    """Messages as they come; an error after 20 seconds, for heartbeats never end."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        yield from messages_in(viewer.recv(10))
    raise TimeoutError


def until(viewer: ClientConnection, wanted: Callable[[Any], bool]) -> list[Any]:
    """Messages up to and with the first that is wanted."""
    seen = []
    for message in received(viewer):
        seen.append(message)
        if wanted(message):
            return seen
    raise AssertionError


def events_in(messages: list[Any]) -> list[Any]:
    return [message for message in messages if isinstance(message, m.EventMessage)]


def hub_over(snapshot_now: Any = None, **settings: Any) -> tuple[Hub, Mailbox]:
    mailbox = Mailbox(snapshot_now or snapshot(), ENDPOINTS, min_stats_update_interval=0.1)
    return Hub(mailbox, WebSettings(**settings), WallClock(), Recorder()), mailbox


def drained(hub: Hub, viewer: Viewer) -> list[Any]:
    texts = iter(lambda: hub.next(viewer), None)
    return [message for text in texts for message in messages_in(text)]
