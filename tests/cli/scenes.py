"""What `dp-coordinator top` may have to show, and its screen as text."""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec
from rich.console import Console

from dp_coordinator.cli.top.live import Link, Live, Message, apply
from dp_coordinator.cli.top.scene import Choices, Held, Scene
from dp_coordinator.cli.top.screen import compose
from dp_coordinator.cli.top.start import Asked, Prompt
from dp_coordinator.messages import (
    PROTOCOL,
    Alarm,
    Endpoints,
    EngineColumnsMessage,
    EventMessage,
    Hello,
    Notice,
    SnapshotMessage,
    Statuses,
    Totals,
    WaveEvidence,
)
from dp_coordinator.words import AlarmKind, EngineStatus, EventGroup, NoticeKind, Severity, Tone
from tests.cli.canned import TIMED_OUT, WAVES

HELLO = Hello(PROTOCOL, "0.1.0", started_at=1000.0, now=1100.0, last_seq=0, replay_from=1)
OPEN = Link("open")
LOST = Link("lost", "the connection broke", retry_at=14.5)
ALARM = Alarm(
    AlarmKind.RANK_SILENT,
    Severity.CRITICAL,
    1000.0,
    30.0,
    "rank 1 says nothing",
    "it hangs",
    "look at its process",
    [1],
    {},
)
RECOVERING = Notice(NoticeKind.RECOVERY, Tone.WARN, "Recovering: 1 of 3 engines are back")
SIZES = [(1, 1), (20, 5), (40, 10), (60, 20), (80, 24), (119, 30), (120, 40), (200, 60)]


def columns(count: int) -> EngineColumnsMessage:
    """Rank 0 reported 0.2 s ago, every third rank never, the others 1 s ago with as many running as their index."""
    never = [index > 0 and index % 3 == 1 for index in range(count)]

    def column(of: Any) -> Any:
        return [None if gone else of(index) for index, gone in enumerate(never)]

    return EngineColumnsMessage(
        waiting=column(lambda index: 0),
        running=column(lambda index: index),
        kv_cache_usage=column(lambda index: 0.25),
        step_counter=column(lambda index: 17),
        current_wave=column(lambda index: 6),
        age_s=column(lambda index: 1.0 if index else 0.2),
        status=Statuses(EngineStatus.WORKING, {EngineStatus.NEVER: [rank for rank, gone in enumerate(never) if gone]}),
        restarts=[0] * count,
    )


def snapshot(count: int = 3, **changes: Any) -> SnapshotMessage:
    values: dict[str, Any] = {
        "number": 1,
        "at": 1100.0,
        "data_age_s": 0.05,
        "current_wave": 6,
        "engines_running": True,
        "state": "running",
        "state_text": "Wave 6 is running",
        "state_tone": "good",
        "wave": WaveEvidence(6, 1000.5, None, [0], None, None),
        "peers_version": 0,
        "notices": [],
        "state_age_s": 4.0,
        "ready": True,
        "engine_count": count,
        "engines_subscribed": count,
        "front_ends": 1,
        "totals": Totals(0, 2, None),
        "engines": columns(count),
        "wave_coordination": True,
        "dialect": "0.33",
        "endpoints": Endpoints("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3"),
        "start_blocked": None,
        "waves": WAVES.waves,
        "actions": [],
        "alarms": [],
        "restarts": 0,
        "recovery": None,
        "last_seq": 0,
    }
    return SnapshotMessage(**{**values, **changes})


def event(seq: int, kind: str = "wave_started", **fields: object) -> EventMessage:
    return EventMessage(seq, 1000.0 + seq, kind, EventGroup.WAVES, Tone.GOOD, f"{kind} {seq}", fields or {"wave": seq})


def live(*more: Message, count: int = 3, **changes: Any) -> Live:
    """What is known after a greeting and a state at the moment 10."""
    return apply(Live(), [HELLO, snapshot(count, **changes), *more], 10.0)


def scene(known: Live | None = None, link: Link = OPEN, **choices: Any) -> Scene:
    return Scene(live() if known is None else known, link, Choices(**choices), "http://here")


def picture(shown: Scene, now: float = 10.0, size: tuple[int, int] = (80, 24)) -> list[str]:
    """The screen as lines of text."""
    width, height = size
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(compose(shown, now, width, height).picture, height=height, end="")
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capture.get().removesuffix("\n").split("\n")]


def text(shown: Scene, now: float = 10.0, size: tuple[int, int] = (80, 24)) -> str:
    """The screen without regard to where its lines are broken."""
    return re.sub(r"\s+", " ", " ".join(picture(shown, now, size)))


MANY_EVENTS = [event(seq) for seq in range(1, 60)]
SCENES = {
    "nothing": Scene(url="http://here"),
    "never reached": scene(Live(), LOST),
    "running": scene(live(*MANY_EVENTS)),
    "64 engines": scene(live(*MANY_EVENTS, count=64)),
    "16384 engines": scene(live(count=16384), offset=9000, sort="load"),
    "lost": scene(live(count=64), LOST),
    "alarms": scene(live(alarms=[ALARM] * 9, notices=[RECOVERING])),
    "waiting": scene(live(ready=False, engines_subscribed=1, front_ends=0, engines_running=False, state="waiting")),
    "help": scene(help=True),
    "held": scene(held=Held(live(), 10.0)),
    "prompt": scene(prompt=Prompt(6, "請求 hang " * 50)),
    "outcome": scene(asked=Asked(6, 0, TIMED_OUT), notice="so " * 90),
    "nasty": scene(
        live(
            event(1, "\x1b[2J\n\n"),
            notices=[Notice(NoticeKind.STARTING, Tone.BAD, "\x1b[2J\n")],
            alarms=[msgspec.structs.replace(ALARM, title="\x1b[2J\n")],
        )
    ),
}
