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
from collections.abc import Callable
from types import TracebackType
from typing import Self

import zmq
import zmq.asyncio

from dp_coordinator.client.engine_protocol import EngineProtocol, StartWave
from dp_coordinator.client.errors import NotReadyError
from dp_coordinator.client.sockets import Deadline, open_all
from dp_coordinator.core.dialect import DEFAULT_VERSION, Dialect
from dp_coordinator.wire.client import SUBSCRIBE

Clock = Callable[[], float]


def _not_ready(protocol: EngineProtocol, address: str, timeout: float | None) -> NotReadyError:
    return NotReadyError(
        f"engine {protocol.engine_index}: no READY from {address} within {timeout:g} s. Is the coordinator there, "
        "and are as many engines running as its engine count says?"
    )


def _no_start(timeout: float | None) -> TimeoutError:
    return TimeoutError(f"no START_DP_WAVE within {timeout:g} s")


class EngineClient:
    """One engine's connection, blocking. Subscribes at once; use it as a context manager or call `close`."""

    def __init__(
        self,
        engine_index: int,
        back_publish_address: str,
        back_output_address: str,
        *,
        dialect: Dialect | str = DEFAULT_VERSION,
        clock: Clock = time.monotonic,
    ) -> None:
        """`dialect` is the vLLM version that the coordinator speaks; `clock` stamps what is sent, in seconds."""
        self._protocol = EngineProtocol(engine_index, dialect)
        self._address = back_publish_address
        self._clock = clock
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._back, self._output = open_all(
            self._context, (zmq.XSUB, back_publish_address), (zmq.PUSH, back_output_address)
        )
        self._back.send(SUBSCRIBE)

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

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The socket to register in a `zmq.Poller` of your own; when it is readable call `poll_start`."""
        return self._back

    def fileno(self) -> int:
        """File descriptor for select and its kind.

        It tells changes only (edge-triggered, as ZeroMQ's are): after it, and before waiting on it, call `poll_start`
        until it gives None.
        """
        return int(self._back.getsockopt(zmq.FD))

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait for READY, at most `timeout` seconds. Raises `NotReadyError`, or `ProtocolError` for anything else."""
        deadline = Deadline(timeout)
        while not self._protocol.ready:
            if not self._back.poll(deadline.poll_ms()):
                raise _not_ready(self._protocol, self._address, timeout)
            self._protocol.receive(self._back.recv_multipart())

    def assume_ready(self) -> None:
        """Do not expect READY: this engine was started again while the others went on.

        A START may overtake its READY then, and coordinators before 0.18 do not send one.
        """
        self._protocol.ready = True

    def poll_start(self) -> StartWave | None:
        """Give the next START that has arrived, or None at once. Raises `ProtocolError`."""
        while True:
            try:
                frames = self._back.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            if (start := self._protocol.receive(frames)) is not None:
                return start

    def receive_start(self, timeout: float | None = None) -> StartWave:
        """Wait for the next START. Raises `TimeoutError` after `timeout` seconds, or `ProtocolError`."""
        deadline = Deadline(timeout)
        while self._back.poll(deadline.poll_ms()):
            if (start := self.poll_start()) is not None:
                return start
        raise _no_start(timeout)

    def report_stats(
        self,
        *,
        waiting: int,
        running: int,
        kv_cache_usage: float = 0.0,
        step_counter: int = 0,
        current_wave: int = 0,
    ) -> None:
        """Report how many requests wait and run, and the share (0 to 1) of the key-value cache in use.

        Send it when the counts changed, before and after a step, with the step and wave at which they were taken.
        """
        self._output.send(
            self._protocol.stats(
                waiting=waiting,
                running=running,
                kv_cache_usage=kv_cache_usage,
                step_counter=step_counter,
                current_wave=current_wave,
                timestamp=self._clock(),
            )
        )

    def wave_complete(self, wave: int) -> None:
        """Say that no engine has unfinished requests and `wave` is over. Rank 0 says it for all."""
        self._output.send(self._protocol.wave_complete(wave, self._clock()))

    def start_wave(self, wave: int) -> None:
        """Say that this engine runs `wave` and that the others must join."""
        self._output.send(self._protocol.start_wave(wave, self._clock()))

    def close(self) -> None:
        """Unsubscribe and close; what was sent is still handed over, within half a second."""
        for socket in (self._back, self._output):
            if not socket.closed:
                socket.close()
        if not self._context.closed:
            self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncEngineClient:
    """One engine's connection for asyncio; the methods and errors of `EngineClient`. Make it in a running loop."""

    def __init__(
        self,
        engine_index: int,
        back_publish_address: str,
        back_output_address: str,
        *,
        dialect: Dialect | str = DEFAULT_VERSION,
        clock: Clock = time.monotonic,
    ) -> None:
        """`dialect` is the vLLM version that the coordinator speaks; `clock` stamps what is sent, in seconds."""
        self._protocol = EngineProtocol(engine_index, dialect)
        self._address = back_publish_address
        self._clock = clock
        self._context = zmq.asyncio.Context()
        self._back, self._output = open_all(
            self._context, (zmq.XSUB, back_publish_address), (zmq.PUSH, back_output_address)
        )
        # A plain send of a few bytes to a socket without a high-water mark never blocks.
        zmq.Socket.shadow(self._back).send(SUBSCRIBE)

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

    async def _receive(self, deadline: Deadline) -> StartWave | None:
        """Take one message; None for READY. Raises the plain TimeoutError."""
        if not await self._back.poll(deadline.poll_ms()):
            raise TimeoutError
        return self._protocol.receive(await self._back.recv_multipart())

    async def wait_ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for READY, at most `timeout` seconds. Raises `NotReadyError`, or `ProtocolError` for anything else."""
        deadline = Deadline(timeout)
        while not self._protocol.ready:
            try:
                await self._receive(deadline)
            except TimeoutError:
                raise _not_ready(self._protocol, self._address, timeout) from None

    def assume_ready(self) -> None:
        """Do not expect READY: this engine was started again while the others went on."""
        self._protocol.ready = True

    async def receive_start(self, timeout: float | None = None) -> StartWave:  # noqa: ASYNC109
        """Wait for the next START. Raises `TimeoutError` after `timeout` seconds, or `ProtocolError`."""
        deadline = Deadline(timeout)
        while True:
            try:
                start = await self._receive(deadline)
            except TimeoutError:
                raise _no_start(timeout) from None
            if start is not None:
                return start

    async def report_stats(
        self,
        *,
        waiting: int,
        running: int,
        kv_cache_usage: float = 0.0,
        step_counter: int = 0,
        current_wave: int = 0,
    ) -> None:
        """Report how many requests wait and run, and the share (0 to 1) of the key-value cache in use."""
        await self._output.send(
            self._protocol.stats(
                waiting=waiting,
                running=running,
                kv_cache_usage=kv_cache_usage,
                step_counter=step_counter,
                current_wave=current_wave,
                timestamp=self._clock(),
            )
        )

    async def wave_complete(self, wave: int) -> None:
        """Say that no engine has unfinished requests and `wave` is over. Rank 0 says it for all."""
        await self._output.send(self._protocol.wave_complete(wave, self._clock()))

    async def start_wave(self, wave: int) -> None:
        """Say that this engine runs `wave` and that the others must join."""
        await self._output.send(self._protocol.start_wave(wave, self._clock()))

    def close(self) -> None:
        """Unsubscribe and close; what was sent is still handed over, within half a second."""
        for socket in (self._back, self._output):
            if not socket.closed:
                socket.close()
        if not self._context.closed:
            self._context.term()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
