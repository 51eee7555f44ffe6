"""Rounds: requests are sent while a fault and a hostile peer, drawn from the seed, do what they can."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.deployment import ENGINES, FRONT_ENDS, Accounts, Deployment
from benchmarks.torture.faults import FAULTS, Clock, Scene
from benchmarks.torture.hostile import BACK, FRONT, HTTP, OUTPUT
from benchmarks.torture.relay import Relay
from benchmarks.torture.watch import Limits, Seen, Watch

NONE = "nobody"
TOKEN = "a-token-for-the-torture"
HANG_TIMEOUT_S = 5.0
WAVES_A_ROUND = 10_000
"""Whoever comes and goes again and again causes some waves, each of some milliseconds; a jump is no such thing."""
DIALECTS = ("0.28", "0.32", "0.33")
STRAYS = {"far_waves", "strays"}
"""Kinds that say what an honest peer might, of engines that exist."""


@dataclass(frozen=True)
class Round:
    """What one round is."""

    number: int
    dialect: str
    fault: str
    hostile: str
    requests: int
    front_ends: tuple[int, ...]
    before: bool
    """Requests are asked for before the fault, or while it lasts."""
    attack_s: float


@dataclass
class Outcome:
    """What became of it all."""

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    hostile: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    """What hostile peers sent, by kind."""
    accounts: Accounts = field(default_factory=Accounts)
    worst: Seen = field(default_factory=Seen)


def drawn(seed: int, number: int, dialect: str, faults: Sequence[str], hostile: Sequence[str]) -> Round:
    """Round `number`: the same for the same seed and tables, whatever happened in those before it."""
    order = random.Random(f"{seed} {number // len(faults)}")
    shuffled = order.sample(faults, len(faults))  # each fault once before any comes again
    hostiles = random.Random(f"{seed} hostile {number // len(hostile)}").sample(hostile, len(hostile))
    chance = random.Random(f"{seed} round {number}")
    return Round(
        number,
        dialect,
        shuffled[number % len(faults)],
        hostiles[number % len(hostile)],
        1 if chance.random() < 0.4 else chance.randint(2, 30),
        (chance.randrange(FRONT_ENDS),) if chance.random() < 0.4 else tuple(range(FRONT_ENDS)),
        chance.random() < 0.5,
        chance.uniform(0.5, 2.5),
    )


class Torture:
    """One deployment, and the rounds it goes through. Use as a context."""

    def __init__(self, seed: int, dialect: str, limits: Limits, outcome: Outcome) -> None:
        self.outcome = outcome
        self._seed, self._dialect = seed, dialect
        self._wave = 0
        self._strays = False
        """Whether there was one in this deployment; what it said may show later, when a request needs all engines."""
        self._stack = ExitStack()
        with ExitStack() as stack:
            clock = Clock(stack)
            tcp = dict.fromkeys(
                ("front_publish_address", "back_output_address", "back_publish_address"), "tcp://127.0.0.1:0"
            )
            with clock.given():
                self.deployment = Deployment(dialect, stack, token=TOKEN, hang_timeout=HANG_TIMEOUT_S, **tcp)
            relay = stack.enter_context(Relay())
            self.deployment.start_peers(relay.to)
            self.watch = stack.enter_context(Watch(self.deployment, limits))
            self._scene = Scene(self.deployment, relay, self.watch, clock, random.Random(seed))
            self._stack = stack.pop_all()

    def __enter__(self) -> Torture:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def play(self, round_: Round) -> None:
        """Play one; what is found is in the watch's `seen`."""
        self._scene.chance = random.Random(f"{self._seed} fault {round_.number}")
        self._strays |= round_.hostile in STRAYS
        asked = list(round_.front_ends)
        try:
            with self._attacked(round_):
                if round_.before:
                    self.deployment.ask(round_.requests, asked)
                with contextmanager(FAULTS[round_.fault])(self._scene):
                    if not round_.before:
                        self.deployment.ask(round_.requests, asked)
            self._calm()
        except TimeoutError as error:
            self.watch.find(str(error))
            self.deployment.tell()
            return
        for front_end in asked:
            if not self.deployment.answered(front_end, strays=self._strays):
                self.watch.find(f"requests of front-end {front_end} are not answered")
        self._look_at_the_waves()
        if self.watch.seen.findings:
            self.deployment.tell()
        self.outcome.rounds += 1
        self.outcome.faults[round_.fault] += 1
        self.outcome.hostile[round_.hostile] += 1

    def _look_at_the_waves(self) -> None:
        state, before = self.deployment.wait_for(lambda state: True), self._wave
        self._wave = self.deployment.wave
        if self.deployment.waves_went_back:
            self.watch.find("the wave went back")
        if self._wave - before > WAVES_A_ROUND:
            self.watch.find(f"the wave went from {before} to {self._wave} in one round")
        if state["engine_count"] != ENGINES:
            self.watch.find(f"there are {state['engine_count']} engines now, it says")

    def _calm(self) -> None:
        """Wait until it is as it was: all engines are there, and a recovery is over as far as it can be."""
        self.deployment.wait_for(
            lambda state: (
                state["ready"]
                and state["engines_subscribed"] >= ENGINES
                and state["front_ends"] >= FRONT_ENDS
                and (state["recovery"] is None or state["recovery"]["phase"] in {"settling", "done"})
            )
        )

    @contextmanager
    def _attacked(self, round_: Round) -> Iterator[None]:
        """A hostile peer is there meanwhile."""
        if round_.hostile == NONE:
            yield
            return
        words = [round_.hostile, f"{self._seed} {round_.number}", f"{round_.attack_s:.2f}", json.dumps(self._target())]
        command = [sys.executable, "-m", "benchmarks.torture.hostile", *words]
        attacker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(min(0.3, round_.attack_s))
            yield
            printed, _ = attacker.communicate(timeout=60)
            self.outcome.messages[round_.hostile] += int(printed or 0)
        finally:
            attacker.kill()
            attacker.wait()

    def _target(self) -> dict[str, tuple[str | None, int | None]]:
        coordinator = self.deployment.coordinator
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        ends = {FRONT: coordinator.get_stats_publish_address(), OUTPUT: back_output, BACK: back_publish}
        ends[HTTP] = coordinator.http_url or ""
        return {name: (urlsplit(end).hostname, urlsplit(end).port) for name, end in ends.items()}

    def end(self) -> None:
        """End the deployment, and account for every request."""
        accounts = self.deployment.account()
        if accounts.sent != accounts.finished:
            self.watch.find(f"{accounts.lost} requests are lost, {accounts.stranded} stranded")
        whole = self.outcome.accounts
        for name in ("sent", "finished", "stranded", "by_hand"):
            setattr(whole, name, getattr(whole, name) + getattr(accounts, name))
        worst, seen = self.outcome.worst, self.watch.seen
        for name in ("livez_s", "silence_s", "resident_mb"):
            setattr(worst, name, max(getattr(worst, name), getattr(seen, name)))
        worst.findings += seen.findings
