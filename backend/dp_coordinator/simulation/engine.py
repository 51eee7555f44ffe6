"""A simulated engine as a process: sockets and time around `EngineLoop`.

One thread and one poller. While the engine is in a step it goes on reading its sockets, as the input thread of a real
engine does, but what it reads is handled between two steps only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections import deque
from contextlib import ExitStack
from enum import Enum

import msgspec
import zmq

from dp_coordinator.client import EngineClient, NotReadyError, ProtocolError, StartWave
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.settings import SettingsError
from dp_coordinator.simulation.collective import AllReduceResult
from dp_coordinator.simulation.hub import CollectiveHub
from dp_coordinator.simulation.loop import Effect, EngineLoop, Finish, ReportStats, SendStartWave, SendWaveComplete
from dp_coordinator.simulation.member import RETRY_S, CollectiveMember
from dp_coordinator.simulation.messages import Finished, Request, decode_request, encode
from dp_coordinator.simulation.options import EngineOptions
from dp_coordinator.simulation.scheduler import Job, Scheduler
from dp_coordinator.simulation.stopping import PARENT_CHECK_S, Stop

log = logging.getLogger(__name__)


class State(Enum):
    """Where the engine stands."""

    JOINING = "connecting to the collective"
    SUBSCRIBED = "waiting for READY"
    BETWEEN_STEPS = "taking input, idle if there is nothing to do"
    BLOCKED = "in a step, until all others are too"
    STEPPING = "in a step, until its time has passed"


def run_engine(options: EngineOptions) -> int:
    """Run one engine until SIGINT or SIGTERM and return the exit code: 0, or 1 when it could not start.

    At the end it prints how many requests it did not finish, as one line of JSON. Raises `SettingsError`.
    """
    if not 0 <= options.index < options.engine_count:
        raise SettingsError(f"--index must be 0 to {options.engine_count - 1}, not {options.index}")
    try:
        with Stop(options.parent_pid) as stop, ExitStack() as stack:
            engine = SimulatedEngine(options, stop, stack)
            engine.run()
    except (NotReadyError, ProtocolError, OSError, ValueError) as error:
        log.error("engine %d: %s", options.index, error)
        return 1
    print(json.dumps({"unfinished": engine.unfinished}), flush=True)
    return 0


class SimulatedEngine:
    """The engine's sockets, its loop and where it stands."""

    def __init__(self, options: EngineOptions, stop: Stop, stack: ExitStack) -> None:
        self._options, self._stop, self._stack = options, stop, stack
        self._dialect = Dialect.for_version(options.dialect)
        self._loop = EngineLoop(options.index, self._dialect, Scheduler(options.max_num_seqs, options.kv_cache_tokens))
        self._poller = zmq.Poller()
        self._poller.register(stop.fileno(), zmq.POLLIN)
        self._hub = self._bind_hub()
        self._member = stack.enter_context(
            contextlib.closing(CollectiveMember(options.collective, options.index, options.engine_count))
        )
        self._poller.register(self._member.fileno(), zmq.POLLIN)
        self._requests = self._bind_requests()
        self._client: EngineClient | None = None
        self._inputs: deque[tuple[bytes, Request] | StartWave] = deque()
        self._outcome: AllReduceResult | None = None
        self._news: AllReduceResult | None = None
        self._state = State.JOINING
        self._until = 0.0

    def _bind_hub(self) -> CollectiveHub | None:
        if not self._options.host_collective:
            return None
        hub = CollectiveHub(self._options.collective, self._options.engine_count)
        self._poller.register(hub.fileno(), zmq.POLLIN)
        return self._stack.enter_context(contextlib.closing(hub))

    def _bind_requests(self) -> zmq.Socket[bytes]:
        context: zmq.Context[zmq.Socket[bytes]] = self._stack.enter_context(zmq.Context())
        requests = self._stack.enter_context(context.socket(zmq.ROUTER))
        requests.set_hwm(0)
        requests.setsockopt(zmq.LINGER, 200)
        try:
            requests.bind(self._options.request_address)
        except zmq.ZMQError as error:
            raise ValueError(f"cannot bind --request-address {self._options.request_address}: {error}") from error
        self._poller.register(requests, zmq.POLLIN)
        return requests

    @property
    def unfinished(self) -> int:
        """How many requests are here, those included that were not looked at yet."""
        return self._loop.unfinished + sum(not isinstance(each, StartWave) for each in self._inputs)

    # -- turns -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Turn until asked to stop."""
        while not self._stop.asked:
            self._poller.poll(self._timeout_ms())
            self._read()
            while self._advance():
                pass

    def _timeout_ms(self) -> int:
        timeout = PARENT_CHECK_S if self._member.welcomed else RETRY_S
        if self._state in {State.STEPPING, State.SUBSCRIBED}:
            timeout = min(timeout, max(0.0, self._until - time.monotonic()))
        return -int(-timeout * 1000 // 1)  # rounded up: waking early would only mean to wait again

    def _read(self) -> None:
        """Take in all that has arrived, whatever the engine is doing."""
        if self._hub is not None:
            self._hub.turn()
        for outcome in self._member.turn():
            self._take_outcome(outcome)
        self._read_requests()
        if self._client is not None and self._client.ready:
            while (start := self._poll_start(self._client)) is not None:
                self._inputs.append(start)

    def _read_requests(self) -> None:
        while True:
            try:
                client, body = self._requests.recv_multipart(zmq.NOBLOCK)
                self._inputs.append((client, decode_request(body)))
            except zmq.Again:
                return
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning("engine %d: dropped what is no request: %s", self._options.index, error)

    def _poll_start(self, client: EngineClient) -> StartWave | None:
        try:
            return client.poll_start()
        except ProtocolError as error:
            log.warning("engine %d: dropped a message: %s", self._options.index, error)
            return None

    def _take_outcome(self, outcome: AllReduceResult) -> None:
        match self._state:
            case State.BLOCKED:
                self._outcome = outcome
            case State.BETWEEN_STEPS:
                self._perform(self._loop.catch_up(outcome))
            case State.JOINING | State.SUBSCRIBED:
                self._news = outcome
            case State.STEPPING:
                pass  # connected anew in the middle of a step; the answer to the next contribution says where all are

    def _advance(self) -> bool:
        """Move to the next state if it is time; whether it was."""
        match self._state:
            case State.JOINING:
                return self._member.welcomed and self._subscribe()
            case State.SUBSCRIBED:
                return self._await_ready()
            case State.BETWEEN_STEPS:
                return self._begin_step()
            case State.BLOCKED:
                return self._outcome is not None and self._enter(State.STEPPING, self._options.step_ms / 1000)
            case State.STEPPING:
                return time.monotonic() >= self._until and self._end_step()

    def _enter(self, state: State, seconds: float = 0.0) -> bool:
        self._state = state
        self._until = time.monotonic() + seconds
        return True

    # -- start-up ----------------------------------------------------------------------------------------------

    def _subscribe(self) -> bool:
        """Subscribe only now: once all have subscribed there is traffic, and that needs the collective."""
        options = self._options
        self._client = self._stack.enter_context(
            EngineClient(
                options.index, options.back_publish_address, options.back_output_address, dialect=self._dialect
            )
        )
        if self._member.last_before is not None:
            self._client.assume_ready()
        self._poller.register(self._client.socket, zmq.POLLIN)
        return self._enter(State.SUBSCRIBED, options.ready_timeout_s)

    def _await_ready(self) -> bool:
        assert self._client is not None
        while not self._client.ready:
            if self._client.socket.poll(0):
                self._read_ready(self._client)
            elif time.monotonic() < self._until:
                return False
            else:
                raise NotReadyError(f"no READY from {self._options.back_publish_address} in time")
        log.info("engine %d: in", self._options.index)
        news = self._news or self._member.last_before
        if news is not None:
            self._perform([*self._loop.come_back(), *self._loop.catch_up(news)])
        return self._enter(State.BETWEEN_STEPS)

    def _read_ready(self, client: EngineClient) -> None:
        try:
            client.wait_ready(0)
        except ProtocolError as error:
            if not self._options.host_collective:
                raise
            # The collective's memory died with this engine's last process: it could not know that it comes back.
            log.info("engine %d: %s", self._options.index, error)
            client.assume_ready()

    # -- steps -------------------------------------------------------------------------------------------------

    def _begin_step(self) -> bool:
        self._loop.open_turn()
        while self._inputs:
            match self._inputs.popleft():
                case StartWave() as start:
                    self._loop.start(start)
                case client, request:
                    job = Job(client, request.id, request.prompt_tokens, request.steps)
                    self._perform(self._loop.request(job, request.wave))
        self._perform(self._loop.close_turn())
        contribution = self._loop.begin_step()
        if contribution is None:
            return False
        self._outcome = None
        self._member.contribute(contribution)
        return self._enter(State.BLOCKED)

    def _end_step(self) -> bool:
        assert self._outcome is not None
        self._perform(self._loop.end_step(self._outcome))
        self._read()  # what came during the step belongs to the next turn
        return self._enter(State.BETWEEN_STEPS)

    def _perform(self, effects: list[Effect]) -> None:
        client = self._client
        assert client is not None
        for effect in effects:
            match effect:
                case ReportStats(waiting, running, kv_cache_usage, step_counter, current_wave):
                    client.report_stats(
                        waiting=waiting,
                        running=running,
                        kv_cache_usage=kv_cache_usage,
                        step_counter=step_counter,
                        current_wave=current_wave,
                    )
                case SendWaveComplete(wave):
                    client.wave_complete(wave)
                case SendStartWave(wave):
                    client.start_wave(wave)
                case Finish(job):
                    self._requests.send_multipart([job.client, encode(Finished(job.id))])
