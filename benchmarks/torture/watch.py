"""Notices what must never be: /livez that does not answer, no publications, an exit, memory without end."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

import zmq

from benchmarks.deployment import Deployment
from benchmarks.procfs import resident_mb

LIVEZ_EVERY_S = 0.25
REPEATED_EVERY_S = 5.0
"""While nothing changes, load is published again so often (core/load.py)."""


@dataclass
class Limits:
    """What is called a finding."""

    livez_s: float = 5.0
    """Until /livez has answered. On an idle machine it takes milliseconds; a machine that is shared needs some."""
    silence_s: float = REPEATED_EVERY_S + 5.0
    """Without any publication."""
    resident_mb: float = 400.0


@dataclass
class Seen:
    """The worst that was seen."""

    livez_s: float = 0.0
    silence_s: float = 0.0
    resident_mb: float = 0.0
    findings: list[str] = field(default_factory=list)


class Watch:
    """Looks at a deployment from outside, on threads of its own. Use as a context."""

    def __init__(self, deployment: Deployment, limits: Limits) -> None:
        self.seen = Seen()
        self._limits = limits
        self._deployment = deployment
        self._excused = 0
        self._excused_until = 0.0
        self._pid = deployment.coordinator.worker_pid()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(look,)) for look in (self._look, self._listen)]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @contextlib.contextmanager
    def excused(self) -> Iterator[None]:
        """For a time in which the coordinator is away: killed, stopped, or without a descriptor to answer with."""
        self._excused += 1
        try:
            yield
        finally:
            self._pid = self._deployment.coordinator.worker_pid()
            self._excused_until = time.monotonic()
            self._excused -= 1

    def find(self, finding: str) -> None:
        """Note that something was found."""
        self.seen.findings.append(finding)

    def _run(self, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception as error:
            self.find(f"the watch itself ended: {error!r}")

    def _look(self) -> None:
        while not self._over.wait(LIVEZ_EVERY_S):
            self._ask()
            if not self._excused:
                self._weigh()

    def _ask(self) -> None:
        began, why = time.monotonic(), ""
        try:
            urllib.request.urlopen(f"{self._deployment.coordinator.http_url}/livez", timeout=60).close()
        except (OSError, http.client.HTTPException) as error:
            why = f": {error}"
        took = time.monotonic() - began
        if self._excused or began < self._excused_until:
            return
        self.seen.livez_s = max(self.seen.livez_s, took)
        if why or took > self._limits.livez_s:
            self.find(f"/livez after {took:.2f} s{why}")

    def _weigh(self) -> None:
        pid = self._deployment.coordinator.worker_pid()
        if pid != self._pid and not self._excused:
            self.find(f"the coordinator {self._pid} ended by itself, and {pid} is in its place")
            self._pid = pid
        with contextlib.suppress(OSError):
            self.seen.resident_mb = max(self.seen.resident_mb, resident_mb(pid))
        if self.seen.resident_mb > self._limits.resident_mb:
            self.find(f"{self.seen.resident_mb:.0f} MB of resident memory")

    def _listen(self) -> None:
        """Publications, as a tap hears them that is not in anybody's way."""
        with zmq.Context() as context, context.socket(zmq.SUB) as tap:
            tap.setsockopt(zmq.LINGER, 0)
            tap.setsockopt(zmq.RECONNECT_IVL, 50)
            tap.setsockopt(zmq.SUBSCRIBE, b"")
            tap.connect(self._deployment.coordinator.get_stats_publish_address())
            heard_at = time.monotonic()
            while not self._over.is_set():
                if tap.poll(200):
                    tap.recv_multipart()
                    heard_at = time.monotonic()
                    continue
                if self._excused:
                    heard_at = time.monotonic()
                silence = time.monotonic() - max(heard_at, self._excused_until)
                self.seen.silence_s = max(self.seen.silence_s, silence)
                if silence > self._limits.silence_s:
                    self.find(f"nothing was published for {silence:.1f} s")
                    heard_at = time.monotonic()
