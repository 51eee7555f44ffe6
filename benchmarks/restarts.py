"""`python -m benchmarks.restarts --kills 200 --stops 20`: a supervised coordinator that dies and hangs, under traffic.

Coordinator, engines and front-ends are processes of their own. In each round requests are sent and the coordinator is
killed (SIGKILL) or stopped (SIGSTOP: its supervisor must replace it after the hang timeout), at a random moment before,
between or after them; the round is over when every request is answered.
Requests are few, often a lone one, and nothing else happens until they are answered: whatever a wake-up that got lost
would strand stays stranded, is counted, and ends the run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks import machine
from dp_coordinator.handle import DPCoordinator
from dp_coordinator.settings import to_arguments
from dp_coordinator.simulation.options import EngineOptions, FrontEndOptions
from dp_coordinator.supervised import HANG_TIMEOUT_S
from dp_coordinator.supervisor import INSTANT_S

DIALECTS = ("0.28", "0.32", "0.33")
ENGINES = 3
FRONT_ENDS = 2
ANSWER_TIMEOUT_S = 60.0
"""A request that has no answer by then is stranded: they take a tenth of a second, on an idle machine."""
NORMAL_TIMEOUT_S = 60.0
REST_TIMEOUT_S = 10.0
POLL_S = 0.005


@dataclass
class Figures:
    """What became of it."""

    dialect: str
    kills: int = 0
    stops: int = 0
    restarts: int = 0
    """As the coordinator counts them."""
    sent: int = 0
    finished: int = 0
    stranded: int = 0
    """Requests that engines have and do not finish."""
    waves: int = 0
    """The current wave at the end."""
    waves_went_back: bool = False
    wakes_s: list[float] = field(default_factory=list)
    """From each kill until all engines were back and START was sent to them: requests are served as usual again."""
    stop_wakes_s: list[float] = field(default_factory=list)
    """The same from each stop."""
    recovery_s: list[float] = field(default_factory=list)
    """From each kill until REST says so too."""

    @property
    def lost(self) -> int:
        """Requests that nobody has any more."""
        return self.sent - self.finished - self.stranded


class Deployment:
    """A supervised coordinator, and engines and front-ends that send what they are asked for."""

    def __init__(self, dialect: str, directory: str, stack: ExitStack) -> None:
        self.figures = Figures(dialect)
        self._stack = stack
        self._coordinator = stack.enter_context(
            DPCoordinator(ENGINES, supervised=True, dialect=dialect, log_level="error")
        )
        self._pid, self._struck_at, self._struck_at_unix = 0, 0.0, 0.0
        self._stopped = False
        addresses = tuple(f"ipc://{directory}/engine-{index}" for index in range(ENGINES))
        collective = f"127.0.0.1:{_free_port()}"
        self._engines = [
            self._spawn("engine", self._engine(index, address, collective)) for index, address in enumerate(addresses)
        ]
        self._front_ends = [self._spawn("front-end", self._front_end(index, addresses)) for index in range(FRONT_ENDS)]
        self._wait_for(lambda state: state["ready"] and state["front_ends"] == FRONT_ENDS)

    def _engine(self, index: int, address: str, collective: str) -> EngineOptions:
        back_publish, back_output = self._coordinator.get_engine_socket_addresses()
        return EngineOptions(
            index=index,
            engine_count=ENGINES,
            back_publish_address=back_publish,
            back_output_address=back_output,
            request_address=address,
            collective=collective,
            host_collective=index == 0,
            dialect=self.figures.dialect,
            step_ms=1.0,
            log_level="warning",
        )

    def _front_end(self, index: int, addresses: tuple[str, ...]) -> FrontEndOptions:
        return FrontEndOptions(
            front_publish_address=self._coordinator.get_stats_publish_address(),
            engine_address=addresses,
            index=index,
            front_end_count=FRONT_ENDS,
            dialect=self.figures.dialect,
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
            pipe = self._front_ends[index].stdin
            assert pipe is not None
            pipe.write(b"%d\n" % requests)
            pipe.flush()

    def answered(self, front_end: int) -> bool:
        """Wait until a front-end has all its answers; False when some do not come."""
        pipe = self._front_ends[front_end].stdout
        assert pipe is not None
        return bool(select.select([pipe], [], [], ANSWER_TIMEOUT_S)[0]) and bool(pipe.readline())

    # -- the coordinator ---------------------------------------------------------------------------------------

    def strike(self, *, stop: bool) -> None:
        """Kill or stop the coordinator."""
        self._pid, self._stopped = self._coordinator.worker_pid(), stop
        self._struck_at, self._struck_at_unix = time.monotonic(), time.time()
        os.kill(self._pid, signal.SIGSTOP if stop else signal.SIGKILL)
        self.figures.stops += stop
        self.figures.kills += not stop

    def recovered(self) -> None:
        """Wait until everything is as usual again, and take the time."""
        state = self._wait_for(
            lambda state: state["pid"] != self._pid and state["recovery"]["phase"] in {"settling", "done"}
        )
        if not self._stopped:
            self.figures.recovery_s.append(time.monotonic() - self._struck_at)
        self.figures.restarts = state["restarts"]
        (rejoined,) = self._get("events?since=0&kind=engines_rejoined")["events"]
        wakes = self.figures.stop_wakes_s if self._stopped else self.figures.wakes_s
        wakes.append(rejoined["at"] - self._struck_at_unix)

    def live_long_enough(self) -> None:
        """The supervisor waits before it restarts one that dies young again and again. That is not the subject here."""
        time.sleep(max(0.0, self._struck_at + INSTANT_S + 0.5 - time.monotonic()))

    def _wait_for(self, wanted: Any) -> Any:
        deadline = time.monotonic() + NORMAL_TIMEOUT_S
        while True:
            state = self._state()
            if state is not None:
                self.figures.waves_went_back |= state["current_wave"] < self.figures.waves
                self.figures.waves = state["current_wave"]
                if wanted(state):
                    return state
            if time.monotonic() > deadline:
                raise TimeoutError(f"not as it should be after {NORMAL_TIMEOUT_S:g} s: {state}")
            time.sleep(POLL_S)

    def _state(self) -> Any:
        try:
            return self._get("state")
        except (OSError, http.client.HTTPException):
            return None  # it is dead, or not quite back

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._coordinator.http_url}/api/v1/{path}", timeout=REST_TIMEOUT_S) as answer:
            return json.load(answer)

    # -- the end -----------------------------------------------------------------------------------------------

    def account(self) -> Figures:
        """End everything and add up what became of the requests."""
        self._wait_for(lambda state: True)
        for front_end in self._front_ends:
            totals = _account(front_end)
            self.figures.sent += totals["sent"]
            self.figures.finished += totals["finished"]
        for engine in self._engines:  # first the host of the collective: without it nobody steps on
            self.figures.stranded += _account(engine)["unfinished"]
        return self.figures


def _end(process: subprocess.Popen[bytes]) -> bytes:
    """End a process, and give what it has printed since."""
    process.terminate()
    printed, _ = process.communicate(timeout=NORMAL_TIMEOUT_S)
    return printed


def _account(process: subprocess.Popen[bytes]) -> Any:
    """End a process, and give the account that it prints at the end."""
    return json.loads(_end(process).splitlines()[-1])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def deployed(dialect: str) -> Iterator[Deployment]:
    """A deployment, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="dp-restarts-") as directory, ExitStack() as stack:
        yield Deployment(dialect, directory, stack)


def run(dialect: str, kills: int, seed: int, *, stops: int = 0) -> Figures:
    """Kill and stop the coordinator so many times; ends early when a request is stranded."""
    chance = random.Random(f"{dialect} {seed}")
    rounds = [False] * kills + [True] * stops
    chance.shuffle(rounds)
    with deployed(dialect) as deployment:
        for number, stop in enumerate(rounds):
            if not _round(deployment, number, chance, stop=stop):
                break
        return deployment.account()


def _round(deployment: Deployment, number: int, chance: random.Random, *, stop: bool) -> bool:
    """One kill or stop, and requests before it or while the coordinator is away; whether all were answered."""
    asked = [chance.randrange(FRONT_ENDS)] if chance.random() < 0.4 else list(range(FRONT_ENDS))
    requests = 1 if chance.random() < 0.5 else chance.randint(2, 30)
    paused = chance.random() < 0.4
    if paused:
        deployment.strike(stop=stop)
        time.sleep(chance.uniform(0.0, 0.8))
        deployment.ask(requests, asked)
    else:
        deployment.ask(requests, asked)
        # A lone request is answered, and its wave over, within a tenth of a second.
        time.sleep(chance.uniform(0.0, 0.12 if requests == 1 else 0.8))
        deployment.strike(stop=stop)
    deployment.recovered()
    if not all(deployment.answered(front_end) for front_end in asked):
        return False
    if number % 3 == 2:
        deployment.live_long_enough()
    return True


def table(runs: list[Figures]) -> str:
    """The Markdown table."""
    lines = [
        f"Measured on {machine.describe()}: {ENGINES} simulated engines, {FRONT_ENDS} front-ends, kill -9 and "
        f"SIGSTOP (hang timeout {HANG_TIMEOUT_S:g} s).",
        "",
        "| dialect | kills | stops | restarts | requests sent | finished | lost | stranded | waves "
        "| woken after a kill p50 | p99 | max | REST says so p50 | p99 | max | woken after a stop p50 | p99 | max |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in runs:
        cells = (each.kills, each.stops, each.restarts, each.sent, each.finished, each.lost, each.stranded, each.waves)
        times = " | ".join(_times(seconds) for seconds in (each.wakes_s, each.recovery_s, each.stop_wakes_s))
        lines.append(f"| {each.dialect} | {' | '.join(map(str, cells))} | {times} |")
    return "\n".join(lines)


def _times(seconds: list[float]) -> str:
    """Median, 99th percentile and most."""
    if not seconds:
        return "- | - | -"
    ordered = sorted(seconds)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return f"{median(ordered):.2f} s | {p99:.2f} s | {ordered[-1]:.2f} s"


def _sum(runs: list[Figures]) -> Figures:
    names = ("kills", "stops", "restarts", "sent", "finished", "stranded", "waves")
    total = Figures("all", **{name: sum(getattr(each, name) for each in runs) for name in names})
    for each in runs:
        total.wakes_s += each.wakes_s
        total.stop_wakes_s += each.stop_wakes_s
        total.recovery_s += each.recovery_s
    return total


def main() -> int:
    """Run it, tell progress on stderr, print the table; the exit code says whether nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="in all, evenly over the dialects (default 200)")
    parser.add_argument("--stops", type=int, default=0, help="the same for SIGSTOP (default 0); each takes 10 s")
    parser.add_argument("--dialect", action="append", help="this one only; may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    dialects = given.dialect or list(DIALECTS)
    runs = []
    for number, dialect in enumerate(dialects):
        kills, stops = (
            wanted // len(dialects) + (number < wanted % len(dialects)) for wanted in (given.kills, given.stops)
        )
        print(f"{kills} kills and {stops} stops with dialect {dialect} ...", file=sys.stderr, flush=True)
        runs.append(run(dialect, kills, given.seed, stops=stops))
    print(table([*runs, _sum(runs)]))
    return int(any(each.sent != each.finished or each.waves_went_back for each in runs))


if __name__ == "__main__":
    sys.exit(main())
