"""The rest_commands of REST: what the page shows and does, on a command line."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable
from typing import NoReturn, TypeVar
from urllib.parse import quote

import msgspec

from dp_coordinator.cli import render
from dp_coordinator.cli.options import EventsOptions, RestOptions, StartWaveOptions
from dp_coordinator.cli.rest import Rest, UnreachableError, decode
from dp_coordinator.cli.settings import REFUSED
from dp_coordinator.messages import Action, EnginePage, EventPage, State, WavePage

POLL = 0.1
"""Seconds between looks at a manual start that is under way."""
FOLLOW = 0.5
"""Seconds between looks at the event log."""
SAME_START = 0.25
"""Seconds by which the start of one coordinator may seem to move, while its clock is being set."""
API = "/api/v1"
T = TypeVar("T")


def state(options: RestOptions) -> int:
    """`dp-coordinator state`."""
    return _show(options, "state", State, render.state)


def engines(options: RestOptions) -> int:
    """`dp-coordinator engines`."""
    return _show(options, "engines", EnginePage, lambda page: render.engines(page.engines))


def waves(options: RestOptions) -> int:
    """`dp-coordinator waves`."""
    return _show(options, "waves", WavePage, lambda page: render.waves(page.waves))


def _show(options: RestOptions, path: str, shape: type[T], for_people: Callable[[T], str]) -> int:
    rest = Rest(options.url, options.token)
    body = rest.get(f"{API}/{path}")
    if options.json:
        _print_json(body)
    else:
        print(for_people(decode(body, shape, rest.url)))
    return 0


def _print_json(body: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(body.rstrip(b"\n") + b"\n")
    sys.stdout.buffer.flush()


def events(options: EventsOptions) -> int:
    """`dp-coordinator events`: the newest, or page by page all since a number; with --follow also what comes."""
    rest = Rest(options.url, options.token)
    if options.follow:
        _follow(rest, options)
    since = options.since
    one_page = since is None or options.limit is not None
    while True:
        body = _events(rest, options, since)
        if options.json:
            _print_json(body)
            return 0
        page = decode(body, EventPage, rest.url)
        _print_page(page, since, as_json=False)
        since = page.next_since
        if one_page or since >= page.last_seq:
            return 0


def _events(rest: Rest, options: EventsOptions, since: int | None) -> bytes:
    return rest.get(f"{API}/events", since=since, kind=options.kind, limit=options.limit)


def _follow(rest: Rest, options: EventsOptions) -> NoReturn:
    """Print what comes, until interrupted. A coordinator that is away is waited for; one that came back counts anew."""
    since = options.since
    started_at: float | None = None
    away = False
    while True:
        try:
            page = decode(_events(rest, options, since), EventPage, rest.url)
        except UnreachableError:
            if started_at is None:
                raise
            if not away:
                _note("the coordinator does not answer; trying on")
            away = True
            time.sleep(FOLLOW)
            continue
        restarted = started_at is not None and abs(page.started_at - started_at) > SAME_START
        started_at, away = page.started_at, False
        if restarted:
            _note("the coordinator was restarted; its event numbers begin again")
            since = 0
            continue
        _print_page(page, since, as_json=options.json)
        since = page.next_since
        if since >= page.last_seq:
            time.sleep(FOLLOW)


def _print_page(page: EventPage, since: int | None, *, as_json: bool) -> None:
    if since is not None and since > page.last_seq:
        _note(f"event {since} is not of this run of the coordinator, whose newest is {page.last_seq}")
    elif page.truncated:
        _note(f"some events after number {since} are no longer held")
    for event in page.events:
        print(msgspec.json.encode(event).decode() if as_json else render.event(event), flush=True)


def _note(sentence: str) -> None:
    print(render.clean(f"dp-coordinator events: {sentence}"), file=sys.stderr, flush=True)


def start_wave(options: StartWaveOptions) -> int:
    """`dp-coordinator start-wave`: ask, then tell what was observed; exit code 1 unless a step was confirmed."""
    rest = Rest(options.url, options.token)
    asked: dict[str, object] = {"reason": options.reason, "expected_wave": options.expected_wave, "wave": options.wave}
    body = rest.post(f"{API}/waves", asked, {"Idempotency-Key": str(uuid.uuid4())})
    action = decode(body, Action, rest.url)
    if options.wait:
        if not options.json:
            print(f"wave {action.wave} asked for; waiting until a step is confirmed", flush=True)
        while action.state == "asked":  # the coordinator ends it after its own time limit
            time.sleep(POLL)
            body = rest.get(f"{API}/actions/{quote(action.id, safe='')}")
            action = decode(body, Action, rest.url)
    if options.json:
        _print_json(body)
    elif action.state == "asked":
        print(render.clean(f"wave {action.wave} asked for; `GET {API}/actions/{action.id}` tells what comes of it"))
    else:
        print(render.action(action))
    return REFUSED if action.state in ("timed_out", "cannot_tell") else 0
