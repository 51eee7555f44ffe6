"""`python -m benchmarks.watching`: what `dp-coordinator watch` costs, and how soon it shows. Needs `make setup`.

API servers that are stand-ins, in a process of their own, each with a page as long as vLLM's: CPU time and memory of
`watch` on 64 ranks and on 256 targets, with one viewer; and from a change of a rank's metrics to the pixel in Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from statistics import median

from playwright.sync_api import Page, sync_playwright

from benchmarks import machine
from benchmarks.procfs import cpu_seconds, resident_mb
from benchmarks.viewers import viewers
from tests.browser.rig import launch
from tests.sources.standin import answer, api_server, metrics

INTERVAL_S = 2.0
WARM_UP_S = 8.0
PAGE_LINES = 900
"""Lines of vLLM's page beside those of use."""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watching", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each figure of CPU time")
    parser.add_argument("--changes", type=int, default=20, help="changes that are followed to the pixel")
    parser.add_argument("--ranks", type=int, nargs="*", default=[64, 256])
    arguments = parser.parse_args()
    print(f"Measured on {machine.describe()}; a look at each target every {INTERVAL_S:g} s.\n")
    print("| figure | measured |\n|---|---|")
    for ranks in arguments.ranks:
        with fleet(ranks) as (ports, control), watching(ports) as (pid, url), viewers(url, 1):
            time.sleep(WARM_UP_S)
            began, cpu, before = time.monotonic(), cpu_seconds(pid), looks(control)
            time.sleep(arguments.seconds)
            seconds = time.monotonic() - began
            share, made = (cpu_seconds(pid) - cpu) / seconds, (looks(control) - before) / seconds
            figures = f"{share:.1%}; {resident_mb(pid):.0f} MB; {made:.0f}"
            print(f"| {ranks} targets: share of a core; resident memory; looks a second | {figures} |", flush=True)
    if arguments.changes:
        took = sorted(to_the_pixel(arguments.changes))
        print(f"| a rank's metrics to the pixel, 64 ranks: median; longest | {median(took):.2f} s; {took[-1]:.2f} s |")


def looks(control: Connection) -> int:
    """How often the API servers were asked for their metrics."""
    control.send(None)
    count: int = control.recv()
    return count


def to_the_pixel(changes: int) -> list[float]:
    """Seconds from each change until it was painted."""
    with fleet(64) as (ports, control), watching(ports) as (_, url), sync_playwright() as playwright:
        browser = launch(playwright)
        tab = browser.new_page()
        tab.goto(url)
        tab.wait_for_selector("#engines tbody tr")
        took = [change(tab, control, 1000 + number) for number in range(changes)]
        browser.close()
        return took


def change(tab: Page, control: Connection, value: int) -> float:
    """Have rank 0 tell another number, at any moment between two looks, and wait until it is seen."""
    time.sleep(random.Random(value).uniform(0.0, INTERVAL_S))
    text = f"{value:,}"
    began = time.time()
    control.send(value)
    seen: float = tab.evaluate(
        """(texts) => new Promise((resolve) => {
          const look = () => {
            const cell = document.querySelector('tr[data-rank="0"] .col-running');
            if (cell !== null && texts.includes(cell.textContent.trim())) {
              const channel = new MessageChannel();
              channel.port1.onmessage = () => resolve((performance.timeOrigin + performance.now()) / 1000);
              channel.port2.postMessage(0);
            } else requestAnimationFrame(look);
          };
          look();
        })""",
        [text, str(value)],
    )
    return seen - began


@contextmanager
def watching(ports: list[int]) -> Iterator[tuple[int, str]]:
    """`dp-coordinator watch`: its process id and its page."""
    targets = [f"--scrape=http://127.0.0.1:{port}" for port in ports]
    command = [sys.executable, "-m", "dp_coordinator", "watch", "--http", "127.0.0.1:0", *targets]
    command += [f"--scrape-interval={INTERVAL_S}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = next(found for line in process.stdout if (found := re.search(r"http://\S+", line)))
        try:
            yield process.pid, found[0]
        finally:
            process.terminate()


@contextmanager
def fleet(ranks: int) -> Iterator[tuple[list[int], Connection]]:
    """API servers in a process of their own: their ports, and a connection that takes what rank 0 is to tell."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(ranks, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv(), ours
    finally:
        process.terminate()
        process.join()


def serve(ranks: int, control: Connection) -> None:
    """In that process."""
    asyncio.run(_serve(ranks, control))


async def _serve(ranks: int, control: Connection) -> None:
    noise = "".join(f'vllm:request_latency_seconds_bucket{{engine="0",le="{n}.0"}} {n}.0\n' for n in range(PAGE_LINES))
    chance = random.Random(7)
    told: dict[str, int] = {}
    looks = 0

    async def tell(rank: int, writer: asyncio.StreamWriter) -> None:
        nonlocal looks
        looks += 1
        running = told.get("running", 0) if rank == 0 else chance.randrange(1, 99)
        page = noise + metrics(rank, running=running, waiting=rank % 5, steps=looks, usage=chance.random())
        writer.write(answer(page))
        await writer.drain()

    def asked() -> None:
        value = control.recv()
        if value is None:
            control.send(looks)
        else:
            told["running"] = value

    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(api_server()) for _ in range(ranks)]
        for rank, server in enumerate(servers):
            server.routes |= {"/metrics": partial(tell, rank), "/health": answer("")}
        asyncio.get_running_loop().add_reader(control.fileno(), asked)
        control.send([server.port for server in servers])
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
