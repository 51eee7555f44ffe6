"""A web server with canned answers, to see what the rest_commands make of them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from dp_coordinator.messages import (
    Action,
    Endpoints,
    Engine,
    EnginePage,
    Event,
    EventPage,
    RankSeen,
    State,
    Totals,
    WaveEvidence,
    WaveInfo,
    WavePage,
)
from dp_coordinator.requests import Problem
from dp_coordinator.words import DeploymentState, EngineStatus, EventGroup, Tone, WaveCause

NEVER = Engine(1, None, None, None, None, None, None, EngineStatus.NEVER, 0)
FRESH = Engine(0, 3, 8, 0.421, 17, 6, 0.12, EngineStatus.WORKING, 1)
STATE = State(
    current_wave=6,
    engines_running=True,
    state=DeploymentState.STARTING,
    state_text="Wave 6 is starting, asked 300 ms ago; joined by rank 0",
    state_tone=Tone.PLAIN,
    state_age_s=0.4,
    wave=WaveEvidence(6, 1000.5, None, [0], None, None),
    peers_version=0,
    ready=True,
    engine_count=2,
    engines_subscribed=2,
    front_ends=1,
    totals=Totals(3, 8, None),
    engines=[FRESH, NEVER],
    dialect="0.33",
    wave_coordination=True,
    min_stats_update_interval_ms=100,
    endpoints=Endpoints("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3"),
    start_blocked="wave 6 is starting",
    uptime_s=4000.0,
    data_age_s=0.01,
    version="0.1.0",
    name="",
    pid=4711,
    restarts=0,
    recovery=None,
)
WAVES = WavePage(
    [
        WaveInfo(6, WaveCause.ENGINE, 0, 1000.5, 1000.6, None, 75.0, True, False, 3, 8, True),
        WaveInfo(5, WaveCause.MANUAL, None, 900.0, None, 990.0, 90.0, False, True, 0, 2, True),
    ]
)
EVENTS = [
    Event(
        n,
        n,
        1000.0 + n,
        "wave_asked",
        EventGroup.WAVES,
        Tone.PLAIN,
        f"START for wave {n} broadcast, by hand",
        {"wave": n},
    )
    for n in (1, 2, 3)
]


def action(state: Any, summary: str, **changes: Any) -> Action:
    """A manual start of wave 6 in a certain state."""
    values: dict[str, Any] = {
        "id": "a1-1",
        "wave": 6,
        "reason": "test",
        "caller": "me",
        "state": state,
        "asked_at": 1.0,
        "age_s": 0.1,
        "joined": [],
        "silent": [0, 1],
        "confirmed_by": None,
        "took_s": None,
        "engine_count": 2,
        "summary": summary,
    }
    return Action(**{**values, **changes})


ASKED = action("asked", "Asked 100 ms ago, no rank has joined yet")
OBSERVED = action(
    "observed",
    "wave 6: both ranks step after 0.25 s",
    joined=[RankSeen(1, 0.1), RankSeen(0, 0.25)],
    silent=[],
    took_s=0.25,
)
TIMED_OUT = action(
    "timed_out", "wave 6: rank 1 stayed silent for 5 s", joined=[RankSeen(0, 0.1)], silent=[1], took_s=5.0
)


def page(
    *numbers: int, last: int, truncated: bool = False, next_since: int | None = None, started_at: float = 900.0
) -> EventPage:
    """A page of the event log with these events."""
    shown = [event for event in EVENTS if event.seq in numbers]
    after = next_since if next_since is not None else max(numbers, default=last)
    return EventPage(shown, after, last, truncated, started_at)


def problem(status: int, detail: str) -> tuple[int, Problem]:
    """An answer that says no."""
    return status, Problem("/problems/no", "No", status, detail, "/api/v1/waves")


ENGINES = EnginePage([FRESH, NEVER])
Answer = Any


class Canned(ThreadingHTTPServer):
    """Gives each path its answers one after the other, the last one again and again; keeps what was asked."""

    daemon_threads = True

    def __init__(self, answers: dict[str, list[Answer]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self._mute: dict[str, int] = {}
        self.asked: dict[str, list[tuple[dict[str, str], bytes]]] = defaultdict(list)

    def mute(self, key: str, *, times: int) -> None:
        """Break the connection so many times: in turns before the answer, and over its body."""
        self._mute[_line(key)] = times

    def broken(self, line: str) -> int:
        """How many such requests are still to be broken, this one included."""
        left = self._mute.get(line, 0)
        self._mute[line] = max(0, left - 1)
        return left

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Canned

    def do_GET(self) -> None:
        self._answer(f"GET {self.path}")

    def do_POST(self) -> None:
        self._answer(f"POST {self.path}")

    def _answer(self, line: str) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.server.asked[line].append((dict(self.headers), self.rfile.read(length)))
        if broken := self.server.broken(line):
            if broken % 2:
                self.send_response(200)
                self.send_header("Content-Length", "10")
                self.end_headers()
            self.close_connection = True
            return
        known = self.server.answers.get(line, [(404, b"not here")])
        answer = known.pop(0) if len(known) > 1 else known[0]
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _line(key: str) -> str:
    """`get_state` as the request that it stands for."""
    method, _, rest = key.partition("_")
    return f"{method.upper()} /api/v1/{rest}"


@contextmanager
def canned(**answers: list[Answer] | Answer) -> Iterator[Canned]:
    """A running server: keys such as `get_state`, `post_waves`, `get_events?since=0`."""
    by_line = {_line(key): value if isinstance(value, list) else [value] for key, value in answers.items()}
    with Canned(by_line) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
