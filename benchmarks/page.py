"""`python -m benchmarks.page`: the dashboard in real Chromium. Needs `make setup`.

1,024 ranks that all report ten times a second, with the top of the page in sight and then the table: long tasks (as
the browser itself counts them), the time per frame; and the heap. 64 ranks: from an engine's report to the pixel. And
the time until the page can be used, and its size.
"""

from __future__ import annotations

import argparse
import gzip
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from benchmarks import machine
from benchmarks.viewers import viewers
from dp_coordinator.web.settings import STATIC_DIR
from tests.browser.fixture import Fleet, fleet
from tests.browser.rig import launch

MANY, SOME = 1024, 64
WARM_UP_S = 10.0
IN_TABLE_MIN = 0.5
BYTES_S = 12.0
READY = "document.querySelector('#engines tbody tr') !== null && document.querySelector('#start-wave') !== null"

OBSERVE = """
window.bench = { long: [], frames: [], ready: null, seen: new Map() };
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.bench.long.push([entry.startTime, entry.duration]);
}).observe({ type: 'longtask', buffered: true });
const plain = window.requestAnimationFrame.bind(window);
// A message that is posted in a frame's callback is delivered once the frame was laid out and painted.
window.requestAnimationFrame = (callback) => plain((at) => {
  const began = performance.now();
  callback(at);
  const channel = new MessageChannel();
  channel.port1.onmessage = () => window.bench.frames.push(performance.now() - began);
  channel.port2.postMessage(0);
});
const look = () => {
  if (window.bench.ready === null && READY) window.bench.ready = performance.now();
  const cell = document.querySelector('tr[data-rank="0"] .col-running');
  const value = cell === null ? '' : cell.textContent;
  if (!window.bench.seen.has(value)) {
    const channel = new MessageChannel();
    plain(() => {
      channel.port1.onmessage = () => window.bench.seen.set(value, performance.timeOrigin + performance.now());
      channel.port2.postMessage(0);
    });
  }
};
document.addEventListener('DOMContentLoaded', () => {
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
});
""".replace("READY", READY)


@dataclass
class Row:
    """One figure, as a line of the table."""

    name: str
    value: str
    target: str

    def __str__(self) -> str:
        return f"| {self.name} | {self.value} | {self.target} |"


@contextmanager
def _running(ranks: Fleet) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=ranks.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _page(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)  # to look inside
    tab = context.new_page()
    tab.add_init_script(OBSERVE)
    tab.goto(url)
    tab.wait_for_function(READY)
    try:
        yield tab
    finally:
        context.close()


def _heap_mb(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize")) / 1e6


def _thread_s(session: CDPSession) -> float:
    """CPU seconds that the page's main thread has used: what else runs on the machine is not in them."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))


def many_ranks(browser: Browser, minutes: float) -> list[Row]:
    """1,024 ranks: some minutes at the top of the page, and half a minute with the table in sight."""
    with fleet(MANY) as (coordinator, ranks), _running(ranks), _page(browser, str(coordinator.http_url)) as tab:
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        time.sleep(WARM_UP_S)
        before = _heap_mb(session)
        rows = _frames(tab, session, minutes, "1,024 ranks")
        after = _heap_mb(session)
        tab.evaluate("document.querySelector('.engines').scrollIntoView()")
        rows += _frames(tab, session, IN_TABLE_MIN, "1,024 ranks, table in sight")
    return [*rows, Row("JavaScript heap, after 10 s and at the end", f"{before:.1f} / {after:.1f} MB", "flat")]


def _frames(tab: Page, session: CDPSession, minutes: float, what: str) -> list[Row]:
    from_ms = tab.evaluate("bench.long.length = 0, bench.frames.length = 0, performance.now()")
    busy_from = _thread_s(session)
    time.sleep(60 * minutes)
    busy = _thread_s(session) - busy_from
    measured = tab.evaluate("({ long: bench.long, frames: bench.frames, now: performance.now() })")
    seconds = (measured["now"] - from_ms) / 1000
    frames, long = measured["frames"], [ms for _, ms in measured["long"]]
    told = f"{len(long)} (longest {max(long):.0f} ms)" if long else "0"
    return [
        Row(f"long tasks over 50 ms in {minutes:g} min, {what}", told, "0"),
        Row(
            f"main thread per frame, median / p99, {what}",
            f"{median(frames):.1f} / {quantiles(frames, n=100)[98]:.1f} ms",
            "8 ms / -",
        ),
        Row("the same as CPU time, mean", f"{1000 * busy / len(frames):.1f} ms", ""),
        Row("frames drawn a second", f"{len(frames) / seconds:.1f}", ""),
    ]


def report_to_pixel(browser: Browser, reports: int) -> Row:
    """From the moment an engine sends a report to the frame that shows it."""
    with fleet(SOME) as (coordinator, ranks), _page(browser, str(coordinator.http_url)) as tab:
        sent: dict[str, float] = {}
        for i in range(reports):
            value = 100 + i
            sent[str(value)] = time.time() * 1000
            ranks.report(0, 0, value)
            tab.wait_for_function(f"bench.seen.has('{value}')")
            time.sleep(random.uniform(0.02, 0.25))
        seen: dict[str, float] = dict(tab.evaluate("[...bench.seen]"))
    took = [seen[value] - at for value, at in sent.items()]
    figures = quantiles(took, n=100)
    return Row("engine report to pixel, 64 ranks, p50 / p99", f"{figures[49]:.0f} / {figures[98]:.0f} ms", "- / 150 ms")


def bytes_a_viewer(seconds: float) -> list[Row]:
    """What 1,024 ranks that all report ten times a second cost one viewer, in the middle of a wave."""
    with fleet(MANY) as (coordinator, ranks), _running(ranks), viewers(str(coordinator.http_url), 1) as audience:
        while ranks.running_since is None:
            time.sleep(0.1)
        [before], began = audience.taken(), time.monotonic()
        time.sleep(seconds)
        [after], took = audience.taken(), time.monotonic() - began
    sent, messages = after.received - before.received, after.messages - before.messages
    return [
        Row("1,024 ranks: a viewer is sent", f"{sent / took / 1000:.1f} kB/s", "50 kB/s"),
        Row("the same, frames a second", f"{messages / took:.1f}", "10"),
    ]


def interactive(browser: Browser, loads: int) -> Row:
    """From the start of loading to a page with its ranks and a button that works."""
    times: list[float] = []
    with fleet(SOME) as (coordinator, _):
        for _ in range(loads):
            with _page(browser, str(coordinator.http_url)) as tab:
                tab.wait_for_function("bench.ready !== null")
                times.append(tab.evaluate("bench.ready"))
    return Row("page usable after, on loopback", f"{median(times):.0f} ms (worst {max(times):.0f})", "300 ms")


def size() -> Row:
    """All of its JavaScript, gzipped."""
    total = sum(len(gzip.compress(path.read_bytes(), 9)) for path in STATIC_DIR.rglob("*.js"))
    return Row("JavaScript, gzipped", f"{total / 1024:.1f} kB", "50 kB")


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="of 1,024 ranks")
    parser.add_argument("--reports", type=int, default=200)
    parser.add_argument("--loads", type=int, default=7)
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        rows = [size(), interactive(browser, arguments.loads), report_to_pixel(browser, arguments.reports)]
        rows += bytes_a_viewer(BYTES_S)
        rows += many_ranks(browser, arguments.minutes)
        browser.close()
    print("| figure | measured | target |\n|---|---|---|")
    print("\n".join(str(row) for row in rows))
    print(f"\n{machine.describe()}, Chromium without a GPU")


if __name__ == "__main__":
    main()
