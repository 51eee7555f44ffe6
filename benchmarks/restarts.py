"""`python -m benchmarks.restarts --kills 200 --stops 20`: a supervised coordinator that dies and hangs, under traffic.

Coordinator, engines and front-ends are processes of their own. In each round requests are sent and the coordinator is
killed (SIGKILL) or stopped (SIGSTOP: its supervisor must replace it after the hang timeout), at a random moment before,
between or after them; the round is over when every request is answered.
Requests are few, often a lone one, and nothing else happens until they are answered: whatever a wake-up that got lost
would strand stays stranded, is counted, and ends the run.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks import machine
from benchmarks.deployment import ENGINES, FRONT_ENDS, Accounts, Deployment
from dp_coordinator.supervised import HANG_TIMEOUT_S
from dp_coordinator.supervisor import INSTANT_S

DIALECTS = ("0.28", "0.32", "0.33")


@dataclass
class Figures(Accounts):
    """What became of it."""

    dialect: str = ""
    kills: int = 0
    stops: int = 0
    restarts: int = 0
    """As the coordinator counts them."""
    waves: int = 0
    """The current wave at the end."""
    waves_went_back: bool = False
    wakes_s: list[float] = field(default_factory=list)
    """From each kill until all engines were back and START was sent to them: requests are served as usual again."""
    stop_wakes_s: list[float] = field(default_factory=list)
    """The same from each stop."""
    recovery_s: list[float] = field(default_factory=list)
    """From each kill until REST says so too."""


class Struck:
    """A deployment whose coordinator is struck down again and again."""

    def __init__(self, dialect: str, stack: ExitStack) -> None:
        self.figures = Figures(dialect=dialect)
        self.deployment = Deployment(dialect, stack)
        self.deployment.start_peers()
        self._pid, self._struck_at, self._struck_at_unix = 0, 0.0, 0.0
        self._stopped = False

    def strike(self, *, stop: bool) -> None:
        """Kill or stop the coordinator."""
        self._pid, self._stopped = self.deployment.strike(stop=stop), stop
        self._struck_at, self._struck_at_unix = time.monotonic(), time.time()
        self.figures.stops += stop
        self.figures.kills += not stop

    def recovered(self) -> None:
        """Wait until everything is as usual again, and take the time."""
        state = self.deployment.wait_for(
            lambda state: state["pid"] != self._pid and state["recovery"]["phase"] in {"settling", "done"}
        )
        if not self._stopped:
            self.figures.recovery_s.append(time.monotonic() - self._struck_at)
        self.figures.restarts = state["restarts"]
        (rejoined,) = self.deployment.get("events?since=0&kind=engines_rejoined")["events"]
        wakes = self.figures.stop_wakes_s if self._stopped else self.figures.wakes_s
        wakes.append(rejoined["at"] - self._struck_at_unix)

    def live_long_enough(self) -> None:
        """The supervisor waits before it restarts one that dies young again and again. That is not the subject here."""
        time.sleep(max(0.0, self._struck_at + INSTANT_S + 0.5 - time.monotonic()))

    def account(self) -> Figures:
        """End everything and add up what became of the requests."""
        self.deployment.wait_for(lambda state: True)
        accounts, figures = self.deployment.account(), self.figures
        figures.sent, figures.finished, figures.stranded = accounts.sent, accounts.finished, accounts.stranded
        figures.by_hand = accounts.by_hand
        figures.waves, figures.waves_went_back = self.deployment.wave, self.deployment.waves_went_back
        return figures


@contextmanager
def deployed(dialect: str) -> Iterator[Struck]:
    """A deployment, for as long as it is needed."""
    with ExitStack() as stack:
        yield Struck(dialect, stack)


def run(dialect: str, kills: int, seed: int, *, stops: int = 0) -> Figures:
    """Kill and stop the coordinator so many times; ends early when a request is stranded."""
    chance = random.Random(f"{dialect} {seed}")
    rounds = [False] * kills + [True] * stops
    chance.shuffle(rounds)
    with deployed(dialect) as struck:
        for number, stop in enumerate(rounds):
            if not _round(struck, number, chance, stop=stop):
                break
        return struck.account()


def _round(struck: Struck, number: int, chance: random.Random, *, stop: bool) -> bool:
    """One kill or stop, and requests before it or while the coordinator is away; whether all were answered."""
    asked = [chance.randrange(FRONT_ENDS)] if chance.random() < 0.4 else list(range(FRONT_ENDS))
    requests = 1 if chance.random() < 0.5 else chance.randint(2, 30)
    paused = chance.random() < 0.4
    if paused:
        struck.strike(stop=stop)
        time.sleep(chance.uniform(0.0, 0.8))
        struck.deployment.ask(requests, asked)
    else:
        struck.deployment.ask(requests, asked)
        # A lone request is answered, and its wave over, within a tenth of a second.
        time.sleep(chance.uniform(0.0, 0.12 if requests == 1 else 0.8))
        struck.strike(stop=stop)
    struck.recovered()
    if not all(struck.deployment.answered(front_end) for front_end in asked):
        struck.deployment.tell()
        return False
    if number % 3 == 2:
        struck.live_long_enough()
    return True


def table(runs: list[Figures]) -> str:
    """The Markdown table."""
    lines = [
        f"Measured on {machine.describe()}: {ENGINES} simulated engines, {FRONT_ENDS} front-ends, kill -9 and "
        f"SIGSTOP (hang timeout {HANG_TIMEOUT_S:g} s).",
        "",
        "| dialect | kills | stops | restarts | requests sent | finished | lost | stranded | freed by hand | waves "
        "| woken after a kill p50 | p99 | max | REST says so p50 | p99 | max | woken after a stop p50 | p99 | max |",
        f"|{'---|' * 19}",
    ]
    for each in runs:
        requests = (each.sent, each.finished, each.lost, each.stranded, each.by_hand)
        cells = (each.kills, each.stops, each.restarts, *requests, each.waves)
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
    names = ("kills", "stops", "restarts", "sent", "finished", "stranded", "by_hand", "waves")
    total = Figures(dialect="all", **{name: sum(getattr(each, name) for each in runs) for name in names})
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
        print(table(runs).splitlines()[-1], file=sys.stderr, flush=True)
    print(table([*runs, _sum(runs)]))
    return int(any(each.sent != each.finished or each.waves_went_back for each in runs))


if __name__ == "__main__":
    sys.exit(main())
