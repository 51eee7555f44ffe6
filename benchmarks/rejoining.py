"""A supervised coordinator of 1,024 engines is killed: how long until each of them has READY again."""

from __future__ import annotations

import os
import signal
import time

import zmq

from benchmarks.report import Figure, Settings, options, settings_from, table
from benchmarks.subjects import Subject
from dp_coordinator.handle import DPCoordinator

TIMEOUT_S = 60.0
MANY = 1024
SETTLED_MS = 500


class Subscriptions:
    """Engines' subscriptions, of which each is polled all the time, as vLLM's input threads do."""

    def __init__(self, address: str, count: int) -> None:
        self._context = zmq.Context()
        self._context.max_sockets = count + 16
        self._poller = zmq.Poller()
        self.count = count
        for _ in range(count):
            socket = self._context.socket(zmq.XSUB)
            socket.linger = 0
            socket.set_hwm(0)
            socket.connect(address)
            socket.send(b"\x01")
            self._poller.register(socket, zmq.POLLIN)

    def ready_after(self, began: float) -> tuple[float, float]:
        """Seconds from `began` until the first and until the last engine has READY. Raises `TimeoutError`."""
        had: dict[object, float] = {}
        while len(had) < self.count:
            if time.monotonic() > began + TIMEOUT_S:
                raise TimeoutError(f"only {len(had)} of {self.count} engines have READY")
            for socket, _ in self._poller.poll(100):
                if socket.recv_multipart(copy=True)[0] == b"READY":
                    had.setdefault(socket, time.monotonic() - began)
        return min(had.values()), max(had.values())

    def settle(self) -> None:
        """Take what else comes, until nothing has come for a while."""
        while ready := self._poller.poll(SETTLED_MS):
            for socket, _ in ready:
                socket.recv_multipart()

    def close(self) -> None:
        self._context.destroy(linger=0)


def measure(settings: Settings) -> list[Figure]:
    """From the kill to the first engine's READY, from there to the last engine's."""
    count = settings.engines if settings.engines < Settings.engines else MANY
    first = Figure(f"kill -9 to the first of {count:,} engines' READY", "s", "", 2)
    others = Figure("from there to the last engine's READY", "s", "≤ 0.5 s", 2)
    with DPCoordinator(count, supervised=True, log_level="error") as coordinator:
        engines = Subscriptions(coordinator.get_engine_socket_addresses()[0], count)
        try:
            engines.ready_after(time.monotonic())
            for _ in range(settings.runs):
                engines.settle()
                began = time.monotonic()
                os.kill(coordinator.worker_pid(), signal.SIGKILL)
                one, last = engines.ready_after(began)
                first.add(Subject.OURS, one)
                others.add(Subject.OURS, last - one)
        finally:
            engines.close()
    return [first, others]


if __name__ == "__main__":
    print(table(measure(settings_from(options(__doc__).parse_args()))))
