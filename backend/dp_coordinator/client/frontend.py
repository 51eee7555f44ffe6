"""A front-end's connection to the coordinator, blocking and asyncio.

```python
with FrontendClient(front_publish) as coordinator:
    coordinator.wait_update(timeout=10)
    engine = coordinator.pick_engine()        # send the request there, stamped with coordinator.current_wave
    coordinator.notify_new_request(engine)
    coordinator.request_finished(engine)      # when its answer is complete
```

Neither class is thread-safe: use each from one thread or one task, as ZeroMQ sockets must be.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Coroutine
from typing import Any

import zmq
import zmq.asyncio

from dp_coordinator.client.frontend_protocol import FrontendProtocol, Load
from dp_coordinator.client.sockets import Asynchronous, Blocking, Connection, CurveKeys, Deadline, Opened, Sent
from dp_coordinator.core.dialect import DEFAULT_VERSION, Dialect
from dp_coordinator.wire.client import encode_scale


class _FrontEndSide(Connection[Opened, Sent]):
    """What both clients know and decide, and what they say."""

    def __init__(
        self,
        front_publish_address: str,
        *,
        dialect: Dialect | str = DEFAULT_VERSION,
        engine_count: int = 0,
        client_index: int = 0,
        client_count: int = 1,
        curve: CurveKeys | None = None,
    ) -> None:
        """`client_index` of `client_count` front-ends that share the engines; `dialect` is a vLLM version.

        With `curve` the address is that of --curve-address.
        """
        self._protocol = FrontendProtocol(
            dialect, engine_count=engine_count, client_index=client_index, client_count=client_count
        )
        super().__init__((zmq.XSUB, front_publish_address), curve=curve)

    @property
    def current_wave(self) -> int:
        """The wave as last published. Stamp requests with it."""
        return self._protocol.current_wave

    @property
    def engines_running(self) -> bool:
        """Whether the engines are believed to run."""
        return self._protocol.engines_running

    @property
    def engine_count(self) -> int:
        """How many engines are known; 0 before the first load publication unless it was given."""
        return self._protocol.engine_count

    @property
    def load(self) -> Load | None:
        """The newest load publication and its age; None when there was none yet."""
        return self._protocol.load(time.monotonic())

    def in_flight(self, engine_index: int) -> int:
        """Count this front-end's own unfinished requests at an engine."""
        return self._protocol.in_flight(engine_index)

    def pick_engine(self, exclude: Collection[int] = ()) -> int:
        """Choose the least loaded engine for one request, and count the request as in flight there.

        Raises `NoEngineError` when no engine is known or all are excluded.
        """
        return self._protocol.pick_engine(exclude)

    def request_finished(self, engine_index: int) -> None:
        """Take one request back that `pick_engine` had counted as in flight."""
        self._protocol.request_finished(engine_index)

    def scale(self, engine_count: int) -> Sent:
        """Tell the coordinator that there are `engine_count` engines now; new ones must have subscribed already."""
        return self._send(encode_scale(engine_count))


def _no_publication(timeout: float | None) -> TimeoutError:
    return TimeoutError(f"no publication from the coordinator within {timeout:g} s")


class FrontendClient(_FrontEndSide["zmq.Socket[bytes]", None], Blocking):
    """One front-end's connection, blocking. Subscribes at once; use it as a context manager or call `close`."""

    def update(self) -> bool:
        """Take in all that has arrived, so that the newest counts; whether there was any. Raises `ProtocolError`."""
        updated = False
        while self.socket.poll(0):
            self._protocol.receive(self.socket.recv(), time.monotonic())
            updated = True
        return updated

    def wait_update(self, timeout: float | None = None) -> None:
        """Wait for a publication and take in all that has arrived.

        Raises `TimeoutError` after `timeout` seconds, or `ProtocolError`.
        """
        if not self.socket.poll(Deadline(timeout).poll_ms()):
            raise _no_publication(timeout)
        self.update()

    def notify_new_request(self, engine_index: int) -> bool:
        """Tell the coordinator of a request that was sent to an engine, if it wants to know; whether it was told.

        It wants to know while the engines are believed paused, through vLLM 0.32.
        """
        notice = self._protocol.new_request(engine_index)
        if notice is not None:
            self._send(notice)
        return notice is not None


class AsyncFrontendClient(_FrontEndSide[zmq.asyncio.Socket, Coroutine[Any, Any, None]], Asynchronous):
    """One front-end's connection for asyncio; the methods and errors of `FrontendClient`. Make it in a running loop."""

    async def update(self) -> bool:
        """Take in all that has arrived, so that the newest counts; whether there was any. Raises `ProtocolError`."""
        updated = False
        while await self._sockets[0].poll(0):
            self._protocol.receive(await self._sockets[0].recv(), time.monotonic())
            updated = True
        return updated

    async def wait_update(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for a publication and take in all that has arrived.

        Raises `TimeoutError` after `timeout` seconds, or `ProtocolError`.
        """
        if not await self._sockets[0].poll(Deadline(timeout).poll_ms()):
            raise _no_publication(timeout)
        await self.update()

    async def follow(self) -> None:
        """Take in publications for ever: run it as a task of its own and the load stays fresh by itself."""
        while True:
            await self.wait_update()

    async def notify_new_request(self, engine_index: int) -> bool:
        """Tell the coordinator of a request that was sent to an engine, if it wants to know; whether it was told.

        It wants to know while the engines are believed paused, through vLLM 0.32.
        """
        notice = self._protocol.new_request(engine_index)
        if notice is not None:
            await self._send(notice)
        return notice is not None
