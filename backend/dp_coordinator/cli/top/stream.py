"""Reads a coordinator's stream on a thread of its own, and comes back to it when it was lost."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from dp_coordinator.cli.render import clean
from dp_coordinator.cli.rest import bearer
from dp_coordinator.cli.top.live import Link, Live, apply, parse

SILENCE = 10.0
"""Seconds after which it is gone, whatever the socket says: the server says something every second."""
OPEN_TIMEOUT = 8.0
_DELAYS = (1.0, 2.0, 4.0, 8.0, 10.0)
_MAX_MESSAGE = 64 * 1024 * 1024


def retry_delay(attempt: int, chance: float) -> float:
    """Seconds before attempt number `attempt` (from 0); `chance` in [0, 1) spreads viewers by a fifth either way."""
    return _DELAYS[min(attempt, len(_DELAYS) - 1)] * (0.8 + 0.4 * chance)


class Stream:
    """What is known of the coordinator, kept up to date until the process ends."""

    def __init__(self, url: str, token: str | None, changed: Callable[[], None]) -> None:
        """`url` is what `values.base_url` accepts.

        `changed` is called on the stream's thread when the connection was made or lost.
        """
        self._url = url
        self._headers = bearer(token)
        self._changed = changed
        self.live = Live()
        """Replaced as a whole, never changed: whoever looks sees one moment."""
        self.link = Link()
        self._hurry = threading.Event()
        self._chance = random.Random()  # noqa: S311  (spreads viewers, keeps no secret)

    def start(self) -> None:
        """Begin to listen."""
        threading.Thread(target=self._run, name="stream", daemon=True).start()

    def retry_now(self) -> None:
        """Do not wait for the next try."""
        self._hurry.set()

    def _run(self) -> None:
        attempt = 0
        while True:
            self._hurry.clear()
            why = self._listen()
            if why is None:
                continue  # only to ask again from the beginning
            if self.link.state == "open":
                attempt = 0
            delay = retry_delay(attempt, self._chance.random())
            self._set(Link("lost", why, time.monotonic() + delay))
            attempt = 0 if self._hurry.wait(delay) else attempt + 1

    def _set(self, link: Link) -> None:
        self.link = link
        self._changed()

    def _listen(self) -> str | None:
        """Listen until the connection ends: why it did, in a sentence, or None: the log must be asked for anew."""
        try:
            with self._connect() as connection:
                return self._take_all(connection)
        except InvalidStatus as refused:
            return _refusal(refused.response.status_code)
        except ConnectionClosed as closed:
            return _goodbye(closed)
        except TimeoutError:
            return f"no answer within {OPEN_TIMEOUT:g} s"
        except (EOFError, InvalidMessage):
            return "the connection broke before the stream began"
        except OSError as error:
            return f"no coordinator answers ({error.strerror or error})"
        except (WebSocketException, ValueError) as error:  # some versions raise ValueError for a redirection
            return f"what answers there is no coordinator ({clean(str(error))})"

    def _connect(self) -> AbstractContextManager[ClientConnection]:
        parts = urlsplit(self._url)
        address = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        return connect(
            f"ws{self._url.removeprefix('http')}/api/v1/stream?since={self.live.last_seq}",
            # Our own: from some version on, the library would go through a proxy that the environment names.
            sock=socket.create_connection(address, OPEN_TIMEOUT),
            additional_headers=self._headers,
            compression=None,
            open_timeout=OPEN_TIMEOUT,
            close_timeout=1.0,
            max_size=_MAX_MESSAGE,
        )

    def _take_all(self, connection: ClientConnection) -> str | None:
        while True:
            try:
                frame = connection.recv(timeout=SILENCE)
            except TimeoutError:
                return f"nothing was heard for {SILENCE:g} s"
            before, self.live = self.live, apply(self.live, parse(frame), time.monotonic())
            if self.live.must_replay:
                self.live = replace(self.live, must_replay=False)
                return None
            if self.link.state != "open" and (self.live.hello is not before.hello or self.live.outdated is not None):
                self._set(Link("open"))


def _refusal(status: int) -> str:
    if status == 401:
        return "it wants a token, or another one: name the right one with --token-file"
    return f"the stream was refused with HTTP {status}"


def _goodbye(closed: ConnectionClosed) -> str:
    if closed.rcvd is not None and closed.rcvd.reason:
        return f"the stream was closed: {clean(closed.rcvd.reason)}"
    return "the connection broke"
