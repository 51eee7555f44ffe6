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
from collections.abc import Callable
from dataclasses import asdict

import zmq

from dp_coordinator.client import EngineClient, NotReadyError, ProtocolError, StartWave
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.settings import SettingsError
from dp_coordinator.simulation.collective import AllReduceResult
from dp_coordinator.simulation.hub import CollectiveHub
from dp_coordinator.simulation.lifetime import PARENT_CHECK_S, Lifetime, run_until_stopped
from dp_coordinator.simulation.loop import Effect, EngineLoop, Finish, ReportStats, SendStartWave, SendWaveComplete
from dp_coordinator.simulation.member import CollectiveMember
from dp_coordinator.simulation.messages import Request, decode_request, encode, received
from dp_coordinator.simulation.options import EngineOptions
from dp_coordinator.simulation.scheduler import Job, Scheduler
from dp_coordinator.simulation.title import call_this_process

log = logging.getLogger(__name__)


class StoppedError(Exception):
    """The engine was asked to stop."""


def run_engine(options: EngineOptions) -> int:
    """Run one engine until SIGINT or SIGTERM and return the exit code: 0, or 1 when it could not start.

    At the end it prints how many requests it did not finish, as one line of JSON. Raises `SettingsError`.
    """
    if not 0 <= options.index < options.engine_count:
        raise SettingsError(f"--index must be 0 to {options.engine_count - 1}, not {options.index}")
    name = f"engine {options.index}"
    return run_until_stopped(name, options.parent_pid, lambda lifetime: SimulatedEngine(options, lifetime).run())


class SimulatedEngine:
    """The engine's sockets and its loop."""

    def __init__(self, options: EngineOptions, lifetime: Lifetime) -> None:
        self._options, self._lifetime = options, lifetime
        self._name = f"engine {options.index}"
        self._dialect = Dialect.for_version(options.dialect)
        self._loop = EngineLoop(options.index, self._dialect, Scheduler(options.max_num_seqs, options.kv_cache_tokens))
        self._poller = zmq.Poller()
        self._poller.register(lifetime.fileno(), zmq.POLLIN)
        self._hub = self._bind_hub()
        self._member = lifetime.enter_context(CollectiveMember(options.collective, options.index, options.engine_count))
        self._poller.register(self._member.socket, zmq.POLLIN)
        self._requests = self._bind_requests()
        self._client: EngineClient | None = None
        self._inputs: deque[tuple[bytes, Request] | StartWave] = deque()
        self._outcomes: list[AllReduceResult] = []

    def _bind_hub(self) -> CollectiveHub | None:
        if not self._options.host_collective:
            return None
        hub = CollectiveHub(self._options.collective, self._options.engine_count)
        self._poller.register(hub.socket, zmq.POLLIN)
        return self._lifetime.enter_context(contextlib.closing(hub))

    def _bind_requests(self) -> zmq.Socket[bytes]:
        context: zmq.Context[zmq.Socket[bytes]] = self._lifetime.enter_context(zmq.Context())
        requests = self._lifetime.enter_context(context.socket(zmq.ROUTER))
        requests.set_hwm(0)
        requests.setsockopt(zmq.LINGER, 200)
        try:
            requests.bind(self._options.request_address)
        except zmq.ZMQError as error:
            raise ValueError(f"cannot bind --request-address {self._options.request_address}: {error}") from error
        self._poller.register(requests, zmq.POLLIN)
        return requests

    def run(self) -> dict[str, int]:
        """Run until asked to stop; gives the number of requests that are unfinished then."""
        call_this_process(f"simulated {self._name}")
        with contextlib.suppress(StoppedError):
            self._read_until(lambda: self._member.welcomed)
            self._await_ready(self._subscribe())
            while True:
                self._step()
        unread = sum(not isinstance(each, StartWave) for each in self._inputs)
        return {"unfinished": self._loop.unfinished + unread}

    # -- input, whatever the engine is doing -----------------------------------------------------------------------

    def _read_until(self, done: Callable[[], object], until: float = math.inf) -> None:
        while not done() and time.monotonic() < until:
            self._turn(until)

    def _turn(self, until: float = math.inf) -> None:
        """Wait for input, and take in all that has arrived. Raises `StoppedError`."""
        seconds = max(0.0, min(PARENT_CHECK_S, until - time.monotonic()))
        self._poller.poll(math.ceil(seconds * 1000))  # waking early would only mean to wait again
        self._read()
        if self._lifetime.over:
            raise StoppedError

    def _read(self) -> None:
        if self._hub is not None:
            self._hub.turn()
        self._outcomes += self._member.turn()
        self._inputs.extend(received(self._requests, decode_request, self._name))
        if self._client is not None:
            self._read_coordinator(self._client)

    def _read_coordinator(self, client: EngineClient) -> None:
        try:
            while (start := client.poll_start()) is not None:
                self._inputs.append(start)
        except ProtocolError as error:
            if client.ready:
                log.warning("%s: dropped a message: %s", self._name, error)
                return
            if not self._options.host_collective:
                raise
            # The collective's memory died with this engine's last process: it could not know that it comes back.
            log.info("%s: %s", self._name, error)
            client.assume_ready()

    # -- start-up --------------------------------------------------------------------------------------------------

    def _subscribe(self) -> EngineClient:
        """Subscribe only now: once all have subscribed there is traffic, and that needs the collective."""
        options = self._options
        client = EngineClient(
            options.index, options.back_publish_address, options.back_output_address, dialect=self._dialect
        )
        self._client = self._lifetime.enter_context(client)
        if self._member.last_before is not None:
            client.assume_ready()
        self._poller.register(client.socket, zmq.POLLIN)
        return client

    def _await_ready(self, client: EngineClient) -> None:
        self._read_until(lambda: client.ready, time.monotonic() + self._options.ready_timeout_s)
        if not client.ready:
            raise NotReadyError(f"no READY from {self._options.back_publish_address} in time")
        log.info("%s: in", self._name)
        *_, news = self._member.last_before, *self._outcomes
        self._outcomes.clear()
        if news is not None:
            self._perform([*self._loop.come_back(), *self._loop.catch_up(news)])

    # -- steps -----------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Handle what has come, then take a step with all the others, or wait for input when there is none to take."""
        self._handle_inputs()
        contribution = self._loop.begin_step()
        if contribution is None:
            self._turn()
            self._catch_up()
            return
        self._member.contribute(contribution)
        self._read_until(lambda: self._outcomes)
        outcome = self._outcomes[-1]
        self._read_until(lambda: False, time.monotonic() + self._options.step_ms / 1000)
        self._perform(self._loop.end_step(outcome))
        self._read()  # what came during the step belongs to the next turn
        # More than one if connected anew in the middle of the step; the answer to the next contribution says where all
        # are.
        self._outcomes.clear()

    def _handle_inputs(self) -> None:
        self._loop.open_turn()
        while self._inputs:
            match self._inputs.popleft():
                case StartWave() as start:
                    self._loop.start(start)
                case client, request:
                    job = Job(client, request.id, request.prompt_tokens, request.steps)
                    self._perform(self._loop.request(job, request.wave))
        self._perform(self._loop.close_turn())

    def _catch_up(self) -> None:
        for outcome in self._outcomes:
            self._perform(self._loop.catch_up(outcome))
        self._outcomes.clear()

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
                    self._requests.send_multipart([job.client, encode(job.id)])
