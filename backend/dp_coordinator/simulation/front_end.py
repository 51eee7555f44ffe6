"""A simulated front-end as a process: traffic, routed by the load that the coordinator publishes."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections import deque
from dataclasses import asdict

import zmq

from dp_coordinator.client import FrontendClient, NoEngineError, ProtocolError
from dp_coordinator.simulation.demand import Demand
from dp_coordinator.simulation.lifetime import PARENT_CHECK_S, Lifetime, run_until_stopped
from dp_coordinator.simulation.messages import Request, decode_answer, encode, received
from dp_coordinator.simulation.options import FrontEndOptions
from dp_coordinator.simulation.outstanding import Outstanding, Sent
from dp_coordinator.simulation.title import call_this_process
from dp_coordinator.simulation.traffic import Size, Traffic

log = logging.getLogger(__name__)

RETRY_S = 0.1
"""Seconds until a request that no engine could take is tried again."""


def run_front_end(options: FrontEndOptions) -> int:
    """Run one front-end until SIGINT, SIGTERM or `requests` answers; return the exit code: 0, or 1 if it cannot start.

    At the end what became of its requests is printed as one line of JSON; on demand, each time that all are answered.
    """
    name = f"front-end {options.index}"
    return run_until_stopped(name, options.parent_pid, lambda lifetime: SimulatedFrontEnd(options, lifetime).run())


class SimulatedFrontEnd:
    """The front-end's sockets, its traffic and its requests in flight."""

    def __init__(self, options: FrontEndOptions, lifetime: Lifetime) -> None:
        self._options, self._lifetime = options, lifetime
        self._name = f"front-end {options.index}"
        self._demand = Demand(options, sys.stdin.fileno()) if options.on_demand else None
        self._traffic = self._demand or (None if options.no_traffic else Traffic(options, time.time()))
        self._outstanding = Outstanding(options.request_timeout_s)
        self._totals = self._outstanding.totals
        self._unsent: deque[tuple[int, Size, int | None]] = deque()
        self._client = lifetime.enter_context(
            FrontendClient(
                options.front_publish_address,
                dialect=options.dialect,
                engine_count=len(options.engine_address),
                client_index=options.index,
                client_count=options.front_end_count,
            )
        )
        context: zmq.Context[zmq.Socket[bytes]] = lifetime.enter_context(zmq.Context())
        self._engines = [lifetime.enter_context(_dealer(context, address)) for address in options.engine_address]
        self._poller = zmq.Poller()
        self._poller.register(lifetime.fileno(), zmq.POLLIN)
        if self._demand is not None:
            self._poller.register(self._demand.fileno(), zmq.POLLIN)
        for socket in (self._client.socket, *self._engines):
            self._poller.register(socket, zmq.POLLIN)

    def run(self) -> dict[str, int]:
        """Turn until asked to stop, or all requests that were wanted are answered; gives what became of them."""
        call_this_process(f"simulated {self._name}")
        wanted = self._options.requests
        while not self._lifetime.over and not (wanted and self._totals.finished >= wanted):
            self._poller.poll(self._timeout_ms())
            self._hear()
            self._read_answers()
            self._take_overdue()
            self._take_demand()
            self._take_traffic()
            self._send_all()
        return asdict(self._totals)

    def _timeout_ms(self) -> int:
        times = [PARENT_CHECK_S]
        if self._unsent:
            times.append(RETRY_S)
        if self._traffic is not None and not self._all_taken:
            times.append(self._traffic.next_at - time.time())
        if (overdue_at := self._outstanding.next_overdue_at()) is not None:
            times.append(overdue_at - time.monotonic())
        return max(0, math.ceil(min(times) * 1000))

    @property
    def _all_taken(self) -> bool:
        return bool(self._options.requests) and self._totals.sent >= self._options.requests

    def _hear(self) -> None:
        try:
            self._client.update()
        except ProtocolError as error:
            log.warning("%s: dropped a message: %s", self._name, error)

    def _read_answers(self) -> None:
        for socket in self._engines:
            for _, number in received(socket, decode_answer, self._name):
                if (sent := self._outstanding.finish(number)) is not None:
                    self._client.request_finished(sent.engine)

    def _take_overdue(self) -> None:
        for sent in self._outstanding.overdue(time.monotonic()):
            log.info("%s: engine %d does not answer request %d", self._name, sent.engine, sent.id)
            self._client.request_finished(sent.engine)
            self._totals.resent += 1
            self._unsent.append((sent.id, sent.size, sent.engine))

    def _take_demand(self) -> None:
        if self._demand is None:
            return
        if self._totals.finished == self._demand.asked and self._demand.unanswered:
            self._demand.unanswered = False
            print(json.dumps(asdict(self._totals)), flush=True)
        if not self._demand.read(time.time()):
            self._poller.unregister(self._demand.fileno())
            self._demand = None

    def _take_traffic(self) -> None:
        if self._traffic is None:
            return
        for size in self._traffic.due(time.time()):
            if not self._all_taken:
                self._totals.sent += 1
                self._unsent.append((self._totals.sent, size, None))

    def _send_all(self) -> None:
        while self._unsent:
            number, size, avoid = self._unsent[0]
            if not self._send(number, size, avoid):
                return
            self._unsent.popleft()

    def _send(self, number: int, size: Size, avoid: int | None) -> bool:
        """Send a request to the least loaded engine that is there; False when none is."""
        there = [index for index, socket in enumerate(self._engines) if socket.poll(0, zmq.POLLOUT)]
        exclude = {index for index in range(self._client.engine_count) if index not in there}
        if len(there) > 1 and avoid is not None:
            exclude.add(avoid)
        try:
            engine = self._client.pick_engine(exclude)
        except NoEngineError:
            return False
        request = Request(number, self._client.current_wave, size.prompt_tokens, size.steps)
        try:
            self._engines[engine].send(encode(request), zmq.NOBLOCK)
        except zmq.Again:  # it died just now
            self._client.request_finished(engine)
            return False
        self._outstanding.add(Sent(number, size, engine, time.monotonic()))
        self._client.notify_new_request(engine)
        return True


def _dealer(context: zmq.Context[zmq.Socket[bytes]], address: str) -> zmq.Socket[bytes]:
    """Connect to an engine; sends go through only while it is there, so that nothing queues up for a dead one."""
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        socket.close()
        raise ValueError(f"cannot connect to --engine-address {address}: {error}") from error
    return socket
