"""`dp-coordinator top` without a terminal: what stands on the screen, at which size."""

from __future__ import annotations

import re

import msgspec
import pytest
from rich.cells import cell_len

from dp_coordinator.cli.top.live import Link, Live, apply, parse
from dp_coordinator.cli.top.scene import Choices, Held, Scene
from dp_coordinator.cli.top.screen import plan
from dp_coordinator.cli.top.start import Asked
from dp_coordinator.core.snapshot import Phase
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import Notice, Totals
from dp_coordinator.web import views
from dp_coordinator.words import EngineStatus, NoticeKind, Tone
from tests.cli.canned import ASKED, OBSERVED, TIMED_OUT
from tests.cli.scenes import (
    ALARM,
    HELLO,
    LOST,
    OPEN,
    RECOVERING,
    SCENES,
    SIZES,
    live,
    picture,
    scene,
    text,
)
from tests.web import builders
from tests.web.rig import ENDPOINTS


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCENES)
def test_every_state_fits_every_size(name: str, size: tuple[int, int]) -> None:
    lines = picture(SCENES[name], 12.0, size)
    assert len(lines) == size[1]
    assert {cell_len(line) for line in lines} == {size[0]}
    assert not [line for line in lines if not line.isprintable()]


SAID = {
    "running": (
        live(),
        OPEN,
        ["RUNNING for 4.00 s", "wave 6", "running 2", "engines 3 of 3", "live, 50 ms", "alarms none"],
    ),
    "never is not zero": (live(totals=Totals(None, None)), OPEN, ["waiting never reported", "1 never - - - "]),
    "starting": (
        live(
            phase="starting",
            phase_word="starting",
            notices=[Notice(NoticeKind.STARTING, Tone.WARN, "Start asked 8.00 s ago")],
        ),
        OPEN,
        ["STARTING", "Start asked 8.00 s ago"],
    ),
    "rejoining": (
        live(phase="paused", phase_word="recovering", engines_running=False, restarts=1, notices=[RECOVERING]),
        OPEN,
        ["RECOVERING", "restarts 1", "Recovering: 1 of 3 engines are back"],
    ),
    "alarm": (live(alarms=[ALARM]), OPEN, ["CRITICAL for 30.0 s: rank 1 says nothing", "alarms 1"]),
    "waiting for engines": (
        live(ready=False, engines_subscribed=1),
        OPEN,
        ["1 of 3 engines are subscribed", "back_publish tcp://127.0.0.1:3", "back_output tcp://127.0.0.1:2"],
    ),
    "no front-end": (live(front_ends=0), OPEN, ["no front-end is subscribed", "tcp://127.0.0.1:1"]),
    "lost": (
        live(),
        LOST,
        [
            "DISCONNECTED",
            "next try in 5 s",
            "the connection broke",
            "All numbers are 50 ms old",
            "when last heard",
            "unknown",
        ],
    ),
    "never there": (Live(), LOST, ["NO DATA", "DISCONNECTED", "Nothing was heard so far"]),
    "another protocol": (
        apply(live(), parse('{"type": "hello", "protocol": 3, "version": "9.0"}'), 11.0),
        OPEN,
        ["version 9.0 and speaks another stream: update this dp-coordinator"],
    ),
    "not understood": (apply(live(), [None, None], 11.0), OPEN, ["2 messages of the coordinator of version 0.1.0 not"]),
}


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("size", [(60, 30), (130, 30)])
def test_what_the_screen_says(name: str, size: tuple[int, int]) -> None:
    known, link, expected = SAID[name]
    shown = text(scene(known, link), size=size)
    assert [part for part in expected if part not in shown] == [], shown


def test_data_and_reports_grow_old_before_the_viewers_eyes() -> None:
    assert "0 fresh 0 0 25.0% 6 17 200 ms ago" in text(scene(), 10.0)
    later = text(scene(), 16.0)
    assert "0 fresh 0 0 25.0% 6 17 6.20 s ago" in later
    assert "1 never" in later
    assert "data is 6.05 s old" in later
    assert "live" not in later


@pytest.mark.parametrize(
    ("phase", "engines_running", "now", "status"),
    [
        (Phase.RUNNING, True, 105.5, "stale"),
        (Phase.RUNNING, False, 105.5, "stale"),  # started by hand: nobody was told that the engines run, yet they do
        (Phase.RUNNING, True, 104.5, "fresh"),
        (Phase.STARTING, False, 200.0, "fresh"),
        (Phase.PAUSED, False, 200.0, "fresh"),
    ],
)
def test_top_and_rest_say_the_same_of_every_rank(phase: Phase, engines_running: bool, now: float, status: str) -> None:
    seen = builders.snapshot((100.0, None), phase=phase, engines_running=engines_running)
    mailbox = Mailbox(seen, ENDPOINTS, min_stats_update_interval=0.1)
    clock = views.WallClock()
    rest = views.state(mailbox, seen, now, 5.0, clock)
    told = views.snapshot_message(mailbox, seen, [], now, clock, stale_after=5.0)
    shown = text(scene(apply(Live(), [HELLO, *parse(msgspec.json.encode(told))], 10.0)))
    assert [row.status for row in rest.engines] == [status, "never"]
    assert re.search(rf" 0 {status} .* 1 never ", shown)


def test_when_disconnected_nobody_is_called_silent_or_fresh_and_time_in_state_stops() -> None:
    known = live()
    assert known.snapshot is not None
    known.snapshot.engines.status.others[EngineStatus.STALE] = [2]
    shown = text(scene(known, link=LOST), 60.0)
    assert "stale" not in shown
    assert "fresh" not in shown
    assert "1 never" in shown
    assert "All numbers are 50.0 s old" in shown
    assert "trying now ..." in shown
    assert "6 open engine (rank 0) 00:16:40.500 1 min 15 s" in re.sub(r"\d\d:16:40", "00:16:40", shown)


def test_a_held_display_stands_still_and_says_so() -> None:
    held = scene(live(current_wave=9), held=Held(live(), 10.0))
    shown = text(held, 22.0)
    assert "RUNNING for 4.00 s wave 6" in shown
    assert "DISPLAY PAUSED: as of" in shown
    assert "12.0 s ago" in shown
    assert "200 ms ago" in shown
    assert "DISCONNECTED" in text(Scene(held.live, LOST, held.choices), 22.0)


@pytest.mark.parametrize(
    ("asked", "link", "incarnation", "said"),
    [
        (Asked(6, 0), OPEN, 0, "asking for wave 6"),
        (Asked(6, 0, ASKED), OPEN, 0, "wave 6: Asked 100 ms ago, no rank seen stepping yet"),
        (Asked(6, 0, ASKED), LOST, 0, "disconnected, so what happens now is not seen"),
        (Asked(6, 0, ASKED), OPEN, 1, "the coordinator was restarted; what came of the start is not known"),
        (Asked(6, 0, OBSERVED), OPEN, 0, "both ranks seen stepping after 0.25 s rank 1: seen after 100 ms"),
        (Asked(6, 0, TIMED_OUT), OPEN, 0, "rank 1 stayed silent for 5 s silent: rank 1 rank 0: seen"),
        (Asked(6, 0, problem="refused: it runs"), OPEN, 0, "refused: it runs"),
    ],
)
def test_what_came_of_a_start(asked: Asked, link: Link, incarnation: int, said: str) -> None:
    known = live()
    assert said in text(Scene(of_incarnation(known, incarnation=incarnation), link, Choices(asked=asked)))


def of_incarnation(known: Live, *, incarnation: int) -> Live:
    return Live(incarnation, known.hello, known.hello_at, known.snapshot, known.snapshot_at)


@pytest.mark.parametrize(
    ("width", "heads"),
    [
        (34, ["rank", "status", "waiting", "running"]),
        (60, ["rank", "status", "waiting", "running", "kv cache", "last report"]),
        (80, ["rank", "status", "waiting", "running", "kv cache", "wave", "step", "last report"]),
        (
            130,
            [
                *("rank", "status", "waiting", "running", "kv cache", "wave", "step", "last report", "restarts"),
                "load, against the mean",
            ],
        ),
    ],
)
def test_narrow_terminals_leave_out_the_least_telling_columns(width: int, heads: list[str]) -> None:
    line = next(line for line in picture(scene(), size=(width, 24)) if line.lstrip().startswith("rank "))
    assert re.split(r"  +", line.strip()) == heads


@pytest.mark.parametrize(
    ("lines", "engines", "beside", "expected"),
    [
        (20, 2, False, (4, 4, 12)),
        (20, 64, False, (10, 4, 6)),
        (40, 64, True, (30, 10, 10)),
        (40, 4, True, (6, 34, 34)),
        (7, 64, False, (7, 0, 0)),
        (0, 64, False, (0, 0, 0)),
    ],
)
def test_lines_are_shared(lines: int, engines: int, beside: bool, expected: tuple[int, int, int]) -> None:
    made = plan(lines, engines, 2, beside=beside)
    assert (made.engines, made.waves, made.log) == expected


# -- keys ----------------------------------------------------------------------------------------------------------
