"""A whole deployment on this machine: coordinator and dashboard, simulated engines and front-ends, kept running."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

import zmq

from dp_coordinator.handle import CoordinatorStartError, DPCoordinator
from dp_coordinator.options import CommandOptions
from dp_coordinator.settings import SettingsError, shared, to_arguments
from dp_coordinator.simulation.children import Children
from dp_coordinator.simulation.hub import CollectiveHub
from dp_coordinator.simulation.lifetime import Lifetime
from dp_coordinator.simulation.options import DemoOptions, EngineOptions, FrontEndOptions

LOOK_MS = 100
"""Milliseconds between two looks at the children."""


def run_demo(options: DemoOptions) -> int:
    """Run the demo until SIGINT or SIGTERM.

    Returns the exit code: 0, 1 when the coordinator ended by itself, 2 when something cannot be used or bound.
    """
    with Lifetime(options.parent_pid) as lifetime:
        try:
            told = shared(options, CommandOptions) | {"log_level": "warning", "parent_pid": None}
            coordinator = lifetime.enter_context(DPCoordinator(options.engines, **told))
        except (CoordinatorStartError, SettingsError) as error:
            if lifetime.over:
                return 0  # a signal to the whole group ended it in its start
            _complain(f"{error}. Choose another address with --http, for example --http 127.0.0.1:0 for any free port.")
            return 2
        except OSError as error:
            _complain(f"no folder for its sockets ({error}): let TMPDIR name one that can be written.")
            return 2
        hub = lifetime.enter_context(contextlib.closing(CollectiveHub("127.0.0.1:0", options.engines)))
        children = lifetime.enter_context(contextlib.closing(Children(options.respawn_after_s, _say)))
        for name, arguments in _commands(options, coordinator, hub.address):
            children.add(name, arguments)
        _greet(options, coordinator, children)
        return _supervise(lifetime, coordinator, hub, children)


def _commands(options: DemoOptions, coordinator: DPCoordinator, collective: str) -> Iterator[tuple[str, list[str]]]:
    """Name and arguments of every child."""
    back_publish, back_output = coordinator.get_engine_socket_addresses()
    ours = {"log_level": "warning", "parent_pid": os.getpid()}
    addresses = tuple(f"ipc://{coordinator.scratch}/engine-{index}" for index in range(options.engines))
    for index, address in enumerate(addresses):
        engine = EngineOptions(
            index=index,
            engine_count=options.engines,
            back_publish_address=back_publish,
            back_output_address=back_output,
            request_address=address,
            collective=collective,
            **(shared(options, EngineOptions) | ours),
        )
        yield f"engine {index}", ["engine", *to_arguments(engine)]
    for index in range(options.front_ends):
        front_end = FrontEndOptions(
            front_publish_address=coordinator.get_stats_publish_address(),
            engine_address=addresses,
            index=index,
            front_end_count=options.front_ends,
            epoch=time.time(),
            **(shared(options, FrontEndOptions) | ours),
        )
        yield f"front-end {index}", ["front-end", *to_arguments(front_end)]


def _greet(options: DemoOptions, coordinator: DPCoordinator, children: Children) -> None:
    _say(f"dashboard: {coordinator.http_url}")
    _say(
        f"vLLM {options.dialect} dialect, {options.engines} engines, {options.front_ends} front-ends, "
        + ("no traffic" if options.no_traffic else "bursts and pauses of traffic")
    )
    if options.supervised:
        _say(f"supervisor: pid {coordinator.proc.pid}")
    _say(f"coordinator: pid {coordinator.worker_pid()}")
    for name, pid in children.pids.items():
        _say(f"{name}: pid {pid}")
    _say("kill any of them and watch the page; Ctrl-C ends the demo")


def _supervise(lifetime: Lifetime, coordinator: DPCoordinator, hub: CollectiveHub, children: Children) -> int:
    poller = zmq.Poller()
    for watched in (lifetime.fileno(), hub.socket, coordinator.proc.sentinel):
        poller.register(watched, zmq.POLLIN)
    pid = coordinator.worker_pid()
    while not lifetime.over:
        poller.poll(LOOK_MS)
        hub.turn()
        if lifetime.over:
            break
        if not coordinator.proc.is_alive():
            _complain(f"the coordinator ended with exit code {coordinator.proc.exitcode}")
            return 1
        if pid != (pid := coordinator.worker_pid()):
            _say(f"coordinator started again, pid {pid}")
        children.look(time.monotonic())
    _say("stopping")
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


def _complain(text: str) -> None:
    print(f"dp-coordinator demo: {text}", file=sys.stderr, flush=True)
