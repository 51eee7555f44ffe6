"""What the agent's weights are worth to HAProxy: waiting time and imbalance, beside round-robin and leastconn.

A real HAProxy stands before simulated ranks, with requests of very different lengths; every way to balance gets the
same ones, one after the other. As one HAProxy knows of every connection, and of several each knows only of its own,
both are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import fmean, median

from benchmarks import machine
from benchmarks.ports import free_ports
from benchmarks.routing.proxy import Balance, Entrance, Proxy, configuration, running
from benchmarks.routing.workload import MEAN_S, Request, percentile, requests

ROUND_ROBIN = Balance("round-robin", "roundrobin", agent=False)
LEASTCONN = Balance("leastconn", "leastconn", agent=False)
WEIGHTS = Balance("round-robin with the agent's weights", "roundrobin", agent=True)
BOTH = Balance("leastconn with the agent's weights", "leastconn", agent=True)
BALANCES = (ROUND_ROBIN, LEASTCONN, WEIGHTS, BOTH)
MODEL = "tiny"
UTILISATION = 0.85
WARM_UP = 0.2


@dataclass
class Outcome:
    """What one way to balance came to."""

    waits: list[float] = field(default_factory=list)
    uneven: list[float] = field(default_factory=list)
    failed: int = 0


@dataclass(frozen=True)
class Site:
    """Ranks, whoever watches them, and an HAProxy, all running."""

    ranks: list[int]
    proxy: Proxy
    slots: int
    step_ms: float
    url: str
    """Of `dp-coordinator watch`, which looks at the ranks' metrics."""
    agent: int
    """The port of its agent."""


@contextlib.contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A child of this Python, killed at the end."""
    made = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    try:
        yield made
    finally:
        made.kill()
        made.wait()
        assert made.stdout is not None
        made.stdout.close()


@contextlib.contextmanager
def site(ranks: int, entrances: Sequence[Entrance], slots: int = 4, step_ms: float = 20.0) -> Iterator[Site]:
    """Start all of it; whoever watches looks at every rank twice a second."""
    with ExitStack() as stack:
        shape = ("--ranks", str(ranks), "--slots", str(slots), "--step-ms", str(step_ms))
        ports: list[int] = json.loads(_line(stack.enter_context(process("benchmarks.routing.ranks", *shape)), r"\[.*"))
        agent = free_ports(1)[0]
        asked = [f"--scrape=http://127.0.0.1:{port}" for port in ports]
        told = ("--scrape-interval", "0.5", "--http", "127.0.0.1:0", "--haproxy-agent", f"127.0.0.1:{agent}")
        url = _line(stack.enter_context(process("dp_coordinator", "watch", *asked, *told)), r"http://\S+")
        proxy = stack.enter_context(running(configuration(ports, agent, entrances), entrances))
        yield Site(ports, proxy, slots, step_ms, url, agent)


def _line(of: subprocess.Popen[str], wanted: str) -> str:
    """What matches in the first line that has it. Raises `RuntimeError` when the process ends before."""
    assert of.stdout is not None
    for line in of.stdout:
        if found := re.search(wanted, line):
            return found[0]
    raise RuntimeError(f"{of.args!r} ended")


async def drive(there: Site, ports: Sequence[int], wanted: Sequence[Request]) -> Outcome:
    """Send the requests when they are due, to one port after the other; wait for all answers."""
    outcome, began = Outcome(), time.monotonic()

    async def one(request: Request, port: int) -> None:
        await asyncio.sleep(began + request.at - time.monotonic())
        tokens = max(1, round(request.takes * 1000 / there.step_ms))
        answer = await complete(port, tokens)
        if answer is None:
            outcome.failed += 1
        elif request.at > WARM_UP * wanted[-1].at:
            outcome.waits.append(answer["waited_s"])

    async with asyncio.TaskGroup() as group:
        for number, request in enumerate(wanted):
            group.create_task(one(request, ports[number % len(ports)]))
    return outcome


async def complete(port: int, tokens: int, timeout_s: float = 120.0) -> dict[str, float] | None:
    """One completion; None when it was refused, or not answered in time."""
    wanted = {"model": MODEL, "prompt": "one two", "max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    body = json.dumps(wanted).encode()
    fields = ["Host: localhost", "Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head = "\r\n".join(["POST /v1/completions HTTP/1.1", *fields, "\r\n"])
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(head.encode() + body)
                answer = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    status, _, rest = answer.partition(b"\r\n")
    found: dict[str, float] | None = json.loads(rest.partition(b"\r\n\r\n")[2]) if b" 200 " in status else None
    return found


def uneven(there: Site) -> list[float]:
    """How uneven the ranks were at each look since the last call."""
    with urllib.request.urlopen(f"http://127.0.0.1:{there.ranks[0]}/uneven", timeout=30) as answer:
        seen: list[float] = json.load(answer)
        return seen


def measure(ranks: int, seconds: float, runs: int, proxies: int) -> dict[Balance, list[Outcome]]:
    """Every way to balance in turns, with so many HAProxies."""
    ports = iter(free_ports(len(BALANCES) * proxies))
    entrances = [Entrance(balance, next(ports)) for balance in BALANCES for _ in range(proxies)]
    found: dict[Balance, list[Outcome]] = {balance: [] for balance in BALANCES}
    with site(ranks, entrances) as there:
        rate = UTILISATION * ranks * there.slots / MEAN_S
        for run in range(runs):
            wanted = list(requests(rate, seconds, seed=run))
            for balance in BALANCES:
                there.proxy.wait_up()
                uneven(there)
                through = [entrance.port for entrance in entrances if entrance.balance is balance]
                outcome = asyncio.run(drive(there, through, wanted))
                seen = uneven(there)
                outcome.uneven = seen[int(WARM_UP * len(seen)) :]
                found[balance].append(outcome)
    return found


def row(balance: Balance, proxies: int, outcomes: Sequence[Outcome]) -> str:
    """One line of the table: medians over the runs."""
    waits = [[wait * 1000 for wait in outcome.waits] for outcome in outcomes]
    numbers = [median(percentile(each, share) for each in waits) for share in (0.5, 0.99)]
    fullest = median(fmean(outcome.uneven or [0.0]) for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    return f"| {balance.name} | {proxies} | {numbers[0]:,.0f} ms | {numbers[1]:,.0f} ms | {fullest:.2f} | {failed} |"


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=40.0, help="for how long requests arrive, each time")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--proxies", type=int, action="append", help="so many HAProxies; may be repeated (1 and 3)")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    told = parser.parse_args()
    if told.smoke:
        told.ranks, told.seconds, told.runs, told.proxies = 2, 4.0, 1, [1]
    print(f"Measured on {machine.describe()}; {told.ranks} ranks; medians over {told.runs} runs in turns.\n")
    print(
        "| balance | HAProxies | waiting p50 | p99 | fullest rank over the mean | failed |\n|---|---|---|---|---|---|"
    )
    for proxies in told.proxies or (1, 3):
        for balance, outcomes in measure(told.ranks, told.seconds, told.runs, proxies).items():
            print(row(balance, proxies, outcomes), flush=True)


if __name__ == "__main__":
    main()
