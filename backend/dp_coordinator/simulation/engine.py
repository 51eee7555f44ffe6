"""A simulated engine as a process: sockets and time around `EngineLoop`.

One thread and one poller. While the engine is in a step it goes on reading its sockets, as the input thread of a real
engine does, but what it reads is handled between two steps only.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import asdict
from enum import Enum

import zmq

from dp_coordinator.client import EngineClient, NotReadyError, ProtocolError, StartWave
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.settings import SettingsError
from dp_coordinator.simulation.collective import AllReduceResult
from dp_coordinator.simulation.hub import CollectiveHub
from dp_coordinator.simulation.loop import Effect, EngineLoop, Finish, ReportStats, SendStartWave, SendWaveComplete
from dp_coordinator.simulation.member import RETRY_S, CollectiveMember
from dp_coordinator.simulation.messages import Finished, Request, decode_request, encode, received
from dp_coordinator.simulation.options import EngineOptions
from dp_coordinator.simulation.scheduler import Job, Scheduler
from dp_coordinator.simulation.stopping import PARENT_CHECK_S, Stop, run_until_stopped

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

    def live(stop: Stop, stack: ExitStack) -> dict[str, int]:
        return SimulatedEngine(options, stop, stack).run()

    return run_until_stopped(f"engine {options.index}", options.parent_pid, live)


class SimulatedEngine:
    """The engine's sockets, its loop and where it stands."""

    def __init__(self, options: EngineOptions, stop: Stop, stack: ExitStack) -> None:
        self._options, self._stop, self._stack = options, stop, stack
        self._name = f"engine {options.index}"
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

    # -- turns -------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, int]:
        """Turn until asked to stop; gives the number of requests that are unfinished then."""
        while not self._stop.asked:
            self._poller.poll(self._timeout_ms())
            self._read()
            while self._advance():
                pass
        unread = sum(not isinstance(each, StartWave) for each in self._inputs)
        return {"unfinished": self._loop.unfinished + unread}

    def _timeout_ms(self) -> int:
        timeout = PARENT_CHECK_S if self._member.welcomed else RETRY_S
        if self._state in {State.STEPPING, State.SUBSCRIBED}:
            timeout = min(timeout, max(0.0, self._until - time.monotonic()))
        return math.ceil(timeout * 1000)  # waking early would only mean to wait again

    def _read(self) -> None:
        """Take in all that has arrived, whatever the engine is doing."""
        if self._hub is not None:
            self._hub.turn()
        for outcome in self._member.turn():
            self._take_outcome(outcome)
        self._inputs.extend(received(self._requests, decode_request, self._name))
        if self._client is not None and self._client.ready:
            while (start := self._poll_start(self._client)) is not None:
                self._inputs.append(start)

    def _poll_start(self, client: EngineClient) -> StartWave | None:
        try:
            return client.poll_start()
        except ProtocolError as error:
            log.warning("%s: dropped a message: %s", self._name, error)
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
        log.info("%s: in", self._name)
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
            log.info("%s: %s", self._name, error)
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
                case ReportStats():
                    client.report_stats(**asdict(effect))
                case SendWaveComplete(wave):
                    client.wave_complete(wave)
                case SendStartWave(wave):
                    client.start_wave(wave)
                case Finish(job):
                    self._requests.send_multipart([job.client, encode(Finished(job.id))])
