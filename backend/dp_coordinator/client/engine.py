"""An engine's connection to its coordinator, blocking and asyncio.

```python
with EngineClient(0, back_publish, back_output) as coordinator:
    coordinator.wait_ready(timeout=60)
    coordinator.start_wave(0)                          # work arrived while paused: the other engines must step too
    coordinator.report_stats(waiting=1, running=0, current_wave=0)
    start = coordinator.receive_start(timeout=1.0)     # or be woken by another engine
```

Neither class is thread-safe: use each from one thread or one task, as ZeroMQ sockets must be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import zmq
import zmq.asyncio

from dp_coordinator.client.engine_protocol import EngineProtocol, StartWave
from dp_coordinator.client.errors import NotReadyError
from dp_coordinator.client.sockets import Asynchronous, Blocking, Connection, CurveKeys, Deadline, Opened, Sent
from dp_coordinator.core.dialect import DEFAULT_VERSION, Dialect
from dp_coordinator.wire.client import encode_start_wave, encode_stats, encode_wave_complete


class _EngineSide(Connection[Opened, Sent]):
    """What both clients know, and how they say it."""

    def __init__(
        self,
        engine_index: int,
        back_publish_address: str,
        back_output_address: str,
        *,
        dialect: Dialect | str = DEFAULT_VERSION,
        clock: Callable[[], float] = time.monotonic,
        curve: CurveKeys | None = None,
    ) -> None:
        """`dialect` is the vLLM version that the coordinator speaks; `clock` stamps what is sent, in seconds.

        With `curve` the addresses are those of --curve-address.
        """
        self._protocol = EngineProtocol(engine_index, dialect)
        self._address = back_publish_address
        self._clock = clock
        super().__init__((zmq.XSUB, back_publish_address), (zmq.PUSH, back_output_address), curve=curve)

    @property
    def engine_index(self) -> int:
        """This engine's index, from 0."""
        return self._protocol.engine_index

    @property
    def dialect(self) -> Dialect:
        """The dialect spoken."""
        return self._protocol.dialect

    @property
    def ready(self) -> bool:
        """Whether READY was seen, or need not be."""
        return self._protocol.ready

    def assume_ready(self) -> None:
        """Do not expect READY: this engine was started again while the others went on.

        A START may overtake its READY then, and coordinators before 0.18 do not send one.
        """
        self._protocol.ready = True

    def report_stats(
        self,
        *,
        waiting: int,
        running: int,
        kv_cache_usage: float = 0.0,
        step_counter: int = 0,
        current_wave: int = 0,
    ) -> Sent:
        """Report how many requests wait and run, and the share (0 to 1) of the key-value cache in use.

        Send it when the counts changed, before and after a step, with the step and wave at which they were taken.
        """
        frame = encode_stats(
            self.engine_index,
            waiting=waiting,
            running=running,
            kv_cache_usage=kv_cache_usage,
            step_counter=step_counter,
            current_wave=current_wave,
            timestamp=self._clock(),
            dialect=self.dialect,
        )
        return self._send(frame)

    def wave_complete(self, wave: int) -> Sent:
        """Say that no engine has unfinished requests and `wave` is over. Rank 0 says it for all."""
        return self._send(encode_wave_complete(self.engine_index, wave, self._clock(), self.dialect))

    def start_wave(self, wave: int) -> Sent:
        """Say that this engine runs `wave` and that the others must join."""
        return self._send(encode_start_wave(self.engine_index, wave, self._clock(), self.dialect))

    def _not_ready(self, timeout: float | None) -> NotReadyError:
        return NotReadyError(
            f"engine {self.engine_index}: no READY from {self._address} within {timeout:g} s. Is the coordinator "
            "there, and are as many engines running as its engine count says?"
        )


def _no_start(timeout: float | None) -> TimeoutError:
    return TimeoutError(f"no START_DP_WAVE within {timeout:g} s")


class EngineClient(_EngineSide["zmq.Socket[bytes]", None], Blocking):
    """One engine's connection, blocking. Subscribes at once; use it as a context manager or call `close`."""

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait for READY, at most `timeout` seconds. Raises `NotReadyError`, or `ProtocolError` for anything else."""
        deadline = Deadline(timeout)
        while not self.ready:
            if not self.socket.poll(deadline.poll_ms()):
                raise self._not_ready(timeout)
            self._protocol.receive(self.socket.recv_multipart())

    def poll_start(self) -> StartWave | None:
        """Give the next START that has arrived, or None at once. Raises `ProtocolError`."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            if (start := self._protocol.receive(frames)) is not None:
                return start

    def receive_start(self, timeout: float | None = None) -> StartWave:
        """Wait for the next START. Raises `TimeoutError` after `timeout` seconds, or `ProtocolError`."""
        deadline = Deadline(timeout)
        while self.socket.poll(deadline.poll_ms()):
            if (start := self.poll_start()) is not None:
                return start
        raise _no_start(timeout)


class AsyncEngineClient(_EngineSide[zmq.asyncio.Socket, Coroutine[Any, Any, None]], Asynchronous):
    """One engine's connection for asyncio; the methods and errors of `EngineClient`. Make it in a running loop."""

    async def wait_ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for READY, at most `timeout` seconds. Raises `NotReadyError`, or `ProtocolError` for anything else."""
        deadline = Deadline(timeout)
        while not self.ready:
            if not await self._sockets[0].poll(deadline.poll_ms()):
                raise self._not_ready(timeout)
            self._protocol.receive(await self._sockets[0].recv_multipart())

    async def receive_start(self, timeout: float | None = None) -> StartWave:  # noqa: ASYNC109
        """Wait for the next START. Raises `TimeoutError` after `timeout` seconds, or `ProtocolError`."""
        deadline = Deadline(timeout)
        while await self._sockets[0].poll(deadline.poll_ms()):
            if (start := self._protocol.receive(await self._sockets[0].recv_multipart())) is not None:
                return start
        raise _no_start(timeout)
