"""A supervised coordinator with simulated engines and front-ends, each a process of its own, and what became of it all.

Requests are sent when they are asked for, and nothing else happens until they are answered: whatever a wake-up that got
lost would strand stays stranded, and is counted.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from benchmarks.ports import free_port
from dp_coordinator.handle import DPCoordinator
from dp_coordinator.settings import to_arguments
from dp_coordinator.simulation.options import EngineOptions, FrontEndOptions
from tests import signals

ENGINES = 3
FRONT_ENDS = 2
ANSWER_TIMEOUT_S = 60.0
"""A request that has no answer by then is stranded: they take a tenth of a second, on an idle machine."""
NORMAL_TIMEOUT_S = 60.0
REST_TIMEOUT_S = 10.0
POLL_S = 0.005
State = dict[str, Any]


@dataclass
class Accounts:
    """What became of all requests."""

    sent: int = 0
    finished: int = 0
    stranded: int = 0
    """Requests that engines have and do not finish."""
    by_hand: int = 0
    """How often a wave was started or set by hand for them."""

    @property
    def lost(self) -> int:
        """Requests that nobody has any more."""
        return self.sent - self.finished - self.stranded


class Deployment:
    """A supervised coordinator, and engines and front-ends that send what they are asked for."""

    def __init__(self, dialect: str, stack: ExitStack, *, token: str | None = None, **options: Any) -> None:
        """`options` are the coordinator's, as `DPCoordinator` takes them."""
        self.dialect = dialect
        self.wave = 0
        """The highest current wave that was seen."""
        self.waves_went_back = False
        self.by_hand = 0
        self._stack = stack
        self._directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="dp-bench-"))
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.coordinator = stack.enter_context(
            DPCoordinator(ENGINES, supervised=True, dialect=dialect, log_level="error", token=token, **options)
        )
        self.engines: list[subprocess.Popen[bytes]] = []
        self.front_ends: list[subprocess.Popen[bytes]] = []

    def start_peers(self, reached_at: Callable[[str], str] = lambda address: address) -> None:
        """Start engines and front-ends, and wait until they are there; `reached_at`: where they find an address."""
        addresses = tuple(f"ipc://{self._directory}/engine-{index}" for index in range(ENGINES))
        collective = f"127.0.0.1:{free_port()}"
        back_publish, back_output = map(reached_at, self.coordinator.get_engine_socket_addresses())
        front_publish = reached_at(self.coordinator.get_stats_publish_address())
        for index, address in enumerate(addresses):
            engine = EngineOptions(
                index=index,
                engine_count=ENGINES,
                back_publish_address=back_publish,
                back_output_address=back_output,
                request_address=address,
                collective=collective,
                host_collective=index == 0,
                dialect=self.dialect,
                step_ms=1.0,
                log_level="warning",
            )
            self.engines.append(self._spawn("engine", engine))
        self.front_ends = [
            self._spawn("front-end", self._front_end(index, front_publish, addresses)) for index in range(FRONT_ENDS)
        ]
        self.wait_for(lambda state: state["ready"] and state["front_ends"] >= FRONT_ENDS)

    def _front_end(self, index: int, front_publish: str, addresses: tuple[str, ...]) -> FrontEndOptions:
        return FrontEndOptions(
            front_publish_address=front_publish,
            engine_address=addresses,
            index=index,
            front_end_count=FRONT_ENDS,
            dialect=self.dialect,
            on_demand=True,
            log_level="warning",
            rate=50.0,
            min_steps=1,
            max_steps=60,
            request_timeout_s=0,  # a request that is not answered is never sent again
        )

    def _spawn(self, kind: str, options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dp_coordinator", kind, *to_arguments(options)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._stack.callback(lambda: process.returncode is None and _end(process))
        return process

    # -- requests ----------------------------------------------------------------------------------------------

    def ask(self, requests: int, front_ends: list[int]) -> None:
        """Have each of these front-ends send so many requests."""
        for index in front_ends:
            pipe = self.front_ends[index].stdin
            assert pipe is not None
            pipe.write(b"%d\n" % requests)
            pipe.flush()

    def answered(self, front_end: int, *, strays: bool = False) -> bool:
        """Wait until a front-end has all its answers; False when some do not come.

        `strays`: somebody may have sent a well-formed message that is not true, so that one waits (docs/protocol.md,
        "What one message of a stray peer may do").
        """
        freed = self._has_answers(front_end) or (self._free_by_hand() and self._has_answers(front_end))
        return freed or (strays and self._set_wave() and self._has_answers(front_end))

    def _has_answers(self, front_end: int) -> bool:
        pipe = self.front_ends[front_end].stdout
        assert pipe is not None
        return bool(select.select([pipe], [], [], ANSWER_TIMEOUT_S)[0]) and bool(pipe.readline())

    def _free_by_hand(self) -> bool:
        """Do as an operator whom an alarm tells of the one case that does not heal by itself (docs/operating.md)."""
        state = self.state()
        if state is None or state["start_blocked"] or not self.alarms():
            return False
        self.tell()
        self.by_hand += 1
        what = {"reason": "requests have no answer since the restart", "wave": state["current_wave"] + 1}
        self._send("POST", "waves", what)
        return True

    def _set_wave(self) -> bool:
        """Do as an operator who knows that a stranger was there (docs/operating.md)."""
        state = self.state()
        if state is None:
            return False
        self.by_hand += 1
        wave = state["current_wave"]
        self._send("PUT", "wave", {"reason": "a stranger's notice", "wave": wave, "expected_wave": wave})
        return True

    # -- the coordinator ---------------------------------------------------------------------------------------

    def strike(self, *, stop: bool) -> int:
        """Kill or stop the coordinator; returns which process it was."""
        pid = self.coordinator.worker_pid()
        if stop:
            signals.stop(pid)
        else:
            os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for(self, wanted: Callable[[State], bool]) -> State:
        """Wait until the coordinator says so of itself. Raises `TimeoutError`."""
        deadline = time.monotonic() + NORMAL_TIMEOUT_S
        while True:
            state = self.state()
            if state is not None and wanted(state):
                return state
            if time.monotonic() > deadline:
                told = {key: value for key, value in (state or {}).items() if key != "engines"}
                raise TimeoutError(f"not as it should be after {NORMAL_TIMEOUT_S:g} s: {told or 'no answer'}")
            time.sleep(POLL_S)

    def state(self) -> State | None:
        """What REST says; None while nobody answers."""
        try:
            state: State = self.get("state")
        except (OSError, http.client.HTTPException):
            return None  # it is dead, or not quite back
        self.waves_went_back |= state["current_wave"] < self.wave
        self.wave = max(self.wave, state["current_wave"])
        return state

    def alarms(self) -> list[str]:
        """The kinds of those that stand."""
        return [alarm["kind"] for alarm in self.get("alarms")["alarms"]]

    def get(self, path: str, timeout: float = REST_TIMEOUT_S) -> Any:
        """A path below /api/v1. Raises `OSError` or `http.client.HTTPException` when it is not answered."""
        asked = urllib.request.Request(f"{self.coordinator.http_url}/api/v1/{path}", headers=self._headers)
        with urllib.request.urlopen(asked, timeout=timeout) as answer:
            return json.load(answer)

    def _send(self, method: str, path: str, what: dict[str, Any]) -> None:
        headers = {**self._headers, "Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        url = f"{self.coordinator.http_url}/api/v1/{path}"
        asked = urllib.request.Request(url, json.dumps(what).encode(), headers, method=method)
        urllib.request.urlopen(asked, timeout=REST_TIMEOUT_S).close()

    def tell(self) -> None:
        """Print what the coordinator has to say of what is wrong: its newest events, its ranks, who is connected."""
        with suppress(OSError, http.client.HTTPException):
            for event in self.get("events?limit=80")["events"]:
                print(f"  {event['at']:.3f} {event['text']}", file=sys.stderr)
            for rank in self.get("engines")["engines"]:
                print(f"  {rank}", file=sys.stderr)
            for peer in self.get("peers")["peers"]:
                print(f"  {peer['socket']} {peer['name']}: {peer['kind']} {peer['engine']}", file=sys.stderr)

    # -- the end -----------------------------------------------------------------------------------------------

    def account(self) -> Accounts:
        """End engines and front-ends and add up what became of the requests."""
        accounts = Accounts(by_hand=self.by_hand)
        for front_end in self.front_ends:
            totals = _account(front_end)
            accounts.sent += totals.get("sent", 0)
            accounts.finished += totals.get("finished", 0)
        for engine in self.engines:  # first the host of the collective: without it nobody steps on
            accounts.stranded += _account(engine).get("unfinished", 0)
        return accounts


def _end(process: subprocess.Popen[bytes]) -> bytes:
    """End a process, and give what it has printed since."""
    process.terminate()
    printed, _ = process.communicate(timeout=NORMAL_TIMEOUT_S)
    return printed


def _account(process: subprocess.Popen[bytes]) -> Any:
    """End a process, and give the account that it prints at the end; one that was killed prints none."""
    printed = _end(process).splitlines()
    return json.loads(printed[-1]) if printed else {}
