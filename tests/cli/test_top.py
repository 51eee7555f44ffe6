"""`dp-coordinator top` without a terminal: what is known, what stands on the screen at which size, what keys do."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from dp_coordinator.cli.top.controls import press
from dp_coordinator.cli.top.keys import Keys
from dp_coordinator.cli.top.live import LOG_SIZE, Link, Live, Note, apply, parse
from dp_coordinator.cli.top.scene import Choices, Held, Scene
from dp_coordinator.cli.top.screen import compose, plan
from dp_coordinator.cli.top.start import Asked, Prompt
from dp_coordinator.cli.top.stream import retry_delay
from dp_coordinator.core.snapshot import Phase
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import (
    PROTOCOL,
    Alarm,
    EndpointInfo,
    EngineColumnsMessage,
    EventMessage,
    GapMessage,
    Hello,
    Notice,
    SnapshotMessage,
    Statuses,
    Totals,
)
from dp_coordinator.web import views
from tests.cli.canned import ASKED, OBSERVED, TIMED_OUT, WAVES
from tests.cli.run import environment
from tests.web import builders
from tests.web.rig import ENDPOINTS

HELLO = Hello(PROTOCOL, "0.1.0", started_at=1000.0, now=1100.0, last_seq=0, replay_from=1)
OPEN = Link("open")
LOST = Link("lost", "the connection broke", since=10.0, retry_at=14.5)
ALARM = Alarm(
    "rank_silent", "critical", 1000.0, 30.0, "rank 1 says nothing", "it hangs", "look at its process", [1], {}
)
RECOVERING = Notice("recovery", "warn", "Recovering: 1 of 3 engines are back")
SIZES = [(1, 1), (20, 5), (40, 10), (60, 20), (80, 24), (119, 30), (120, 40), (200, 60)]


def columns(count: int) -> EngineColumnsMessage:
    """Rank 0 reported 0.2 s ago, every third rank never, the others 1 s ago with as many running as their index."""
    never = [index > 0 and index % 3 == 1 for index in range(count)]

    def column(of):
        return [None if gone else of(index) for index, gone in enumerate(never)]

    return EngineColumnsMessage(
        waiting=column(lambda index: 0),
        running=column(lambda index: index),
        kv_cache_usage=column(lambda index: 0.25),
        step_counter=column(lambda index: 17),
        current_wave=column(lambda index: 6),
        age_s=column(lambda index: 1.0 if index else 0.2),
        status=Statuses("fresh", {"never": [index for index, gone in enumerate(never) if gone]}),
        restarts=[0] * count,
        stepping=[0],
    )


def snapshot(count: int = 3, **changes: object) -> SnapshotMessage:
    values = {
        "at": 1100.0,
        "data_age_s": 0.05,
        "current_wave": 6,
        "engines_running": True,
        "phase": "running",
        "phase_word": "running",
        "phase_text": "Wave 6 is running",
        "notices": [],
        "phase_age_s": 4.0,
        "asked_age_s": 4.0,
        "ready": True,
        "engine_count": count,
        "engines_subscribed": count,
        "front_ends": 1,
        "totals": Totals(0, 2),
        "engines": columns(count),
        "wave_coordination": True,
        "dialect": "0.33",
        "endpoints": EndpointInfo("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3"),
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
    return EventMessage(seq, 1000.0 + seq, kind, "waves", "good", f"{kind} {seq}", fields or {"wave": seq})


def live(*more: object, count: int = 3, **changes: object) -> Live:
    """What is known after a greeting and a state at the moment 10."""
    return apply(Live(), [HELLO, snapshot(count, **changes), *more], 10.0)


def scene(known: Live | None = None, link: Link = OPEN, **choices: object) -> Scene:
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
    "waiting": scene(live(ready=False, engines_subscribed=1, front_ends=0, engines_running=False, phase="paused")),
    "help": scene(help=True),
    "held": scene(held=Held(live(), 10.0)),
    "prompt": scene(prompt=Prompt(6, "請求 hang " * 50)),
    "outcome": scene(asked=Asked(6, 0, TIMED_OUT), notice="so " * 90),
    "nasty": scene(
        live(
            event(1, "\x1b[2J\n\n"),
            notices=[Notice("starting", "bad", "\x1b[2J\n")],
            alarms=[msgspec.structs.replace(ALARM, title="\x1b[2J\n")],
        )
    ),
}


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
        live(phase="starting", phase_word="starting", notices=[Notice("starting", "warn", "Start asked 8.00 s ago")]),
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
    known.snapshot.engines.status.others["stale"] = [2]
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


def pressed(keys: list[str], shown: Scene) -> tuple[Choices, str | None]:
    wish = None
    for key in keys:
        drawn = compose(shown, 10.0, 80, 24)
        choices, wish = press(key, shown, 10.0, drawn.page, drawn.last_offset)
        shown = Scene(shown.live, shown.link, choices, shown.url)
    return shown.choices, wish


@pytest.mark.parametrize(
    ("keys", "first"),
    [(["j", "down"], 2), (["k"], 0), (["page down"], 9), (["G"], 55), (["G", "j"], 55), (["G", "up", "g"], 0)],
)
def test_scrolling(keys: list[str], first: int) -> None:
    shown = scene(live(count=64))
    choices, _ = pressed(keys, shown)
    assert choices.offset == first
    assert f"ENGINES {first + 1} to {first + 9} of 64" in text(Scene(shown.live, OPEN, choices))


@pytest.mark.parametrize(
    ("times", "ranks"), [(0, [0, 1, 2]), (1, [2, 0, 1]), (2, [2, 0, 1]), (3, [0, 2, 1]), (4, [0, 1, 2])]
)
def test_sorting_puts_those_that_never_reported_last(times: int, ranks: list[int]) -> None:
    choices, _ = pressed(["o"] * times, scene())
    lines = [line for line in picture(scene(sort=choices.sort)) if re.match(r" +\d  (never|fresh)", line)]
    assert [int(line.split()[0]) for line in lines] == ranks


def test_typing_a_reason() -> None:
    choices, wish = pressed([*"sp q?", "backspace", "x", "enter"], scene())
    assert (choices.prompt, wish) == (Prompt(6, "p qx"), "ask")
    assert pressed([*"s  ", "enter"], scene())[1] is None
    assert pressed([*"sno", "escape"], scene())[0].prompt is None
    assert pressed([*"sno", "clear", "y"], scene())[0].prompt == Prompt(6, "y")
    assert pressed([*"xyz"], scene(prompt=Prompt(6, "x" * 499)))[0].prompt == Prompt(6, "x" * 500)
    assert "it would be refused" in text(scene(live(current_wave=7), prompt=Prompt(6, "x")))


@pytest.mark.parametrize(
    ("known", "link", "why"),
    [
        (live(start_blocked="wave 6 is running"), OPEN, "no wave can be started now: wave 6 is running"),
        (live(), LOST, "not connected to the coordinator"),
        (Live(), OPEN, "no state has arrived yet"),
        (apply(live(), parse('{"type": "hello", "protocol": 3, "version": "9"}'), 11.0), OPEN, "does not understand"),
    ],
)
def test_a_start_that_cannot_be_says_why(known: Live, link: Link, why: str) -> None:
    choices, wish = pressed(["s"], scene(known, link))
    assert choices.prompt is None
    assert wish is None
    assert why in text(scene(known, link, notice=choices.notice))


def test_starting_goes_on_from_a_held_display_and_other_keys_do_what_they_say() -> None:
    choices, _ = pressed(["p"], scene())
    assert choices.held is not None
    assert pressed(["s"], scene(held=choices.held))[0].held is None
    assert pressed(["?"], scene())[0].help
    assert pressed(["r"], scene())[1] == "retry"
    assert pressed(["q"], scene())[1] == "quit"
    assert pressed(["escape"], scene(asked=Asked(6, 0)))[0].asked is None


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ([b"j\x1b[A\x1bOB\x1b[6~"], ["j", "up", "down", "page down"]),
        ([b"\x1b"], ["escape"]),
        ([b"\x1bq"], ["escape", "q"]),
        ([b"\x1b[", b"5~k"], ["page up", "k"]),
        ([b"\x1b[1;5Cx"], ["right", "x"]),
        (["é".encode()[:1], "é".encode()[1:]], ["é"]),
        ([b"\xff\x00\r\x7f\x15"], ["�", "enter", "backspace", "clear"]),
        ([b"\x1b[" + b"1" * 40 + b"q"], ["escape", "[", *"1" * 40, "q"]),
    ],
)
def test_keys(sent: list[bytes], keys: list[str]) -> None:
    keyboard = Keys(-1)
    assert [key for part in sent for key in keyboard.decode(part)] == keys


# -- what is known -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    ["", "{", "null", "3", '{"type": "news"}', '{"type": "snapshot"}', '{"type": "hello", "protocol": 2}', "[1]", "[{"],
)
def test_what_is_not_understood_is_counted_and_changes_nothing(frame: str) -> None:
    known = live(event(1))
    after = apply(known, parse(frame), 11.0)
    assert after.ignored == 1
    assert (after.snapshot, after.log, after.last_seq) == (known.snapshot, known.log, 1)


def test_frames_are_read_as_they_are_written() -> None:
    events = [event(1), event(2)]
    assert parse(msgspec.json.encode(events)) == events
    for message in (HELLO, snapshot(), GapMessage(1, 2)):
        assert parse(msgspec.json.encode(message)) == [message]


def numbers(known: Live) -> list[object]:
    return [entry.text if isinstance(entry, Note) else entry.seq for entry in known.log]


def test_replayed_events_stand_once_and_missing_ones_are_said() -> None:
    known = live(event(1), event(2), event(2), event(1), event(5), GapMessage(6, 6), GapMessage(3, 4), event(7))
    assert numbers(known) == [1, 2, "events 3 to 4 are no longer held", 5, "event 6 is no longer held", 7]
    assert known.last_seq == 7
    assert len(apply(known, [event(seq) for seq in range(8, 5000)], 11.0).log) == LOG_SIZE


def test_a_restart_keeps_the_past_as_such_and_asks_for_the_new_log_from_its_beginning() -> None:
    known = live(event(1), event(2))
    born = msgspec.structs.replace(HELLO, started_at=1105.0, now=1106.0, replay_from=3)
    after = apply(known, [born], 12.0)
    assert (after.incarnation, after.snapshot, after.last_seq, after.must_replay) == (1, None, 0, True)
    assert [(wave.number, wave.open, wave.duration_s) for wave in after.earlier] == [(6, False, None), (5, False, 90.0)]
    assert "restarted" in str(numbers(after)[-1])
    again = apply(after, [msgspec.structs.replace(born, now=1106.1, replay_from=1), event(1)], 12.1)
    assert (again.incarnation, again.must_replay, numbers(again)[-1]) == (1, False, 1)


def test_a_wall_clock_that_was_set_is_no_restart() -> None:
    moved = msgspec.structs.replace(HELLO, started_at=5000.0, now=5102.0)
    assert apply(live(), [moved], 12.0).incarnation == 0


def test_tries_come_further_apart_but_not_too_far() -> None:
    assert [round(retry_delay(attempt, 0.5)) for attempt in range(7)] == [1, 2, 4, 8, 10, 10, 10]
    assert retry_delay(0, 0.0) == pytest.approx(0.8)


def test_without_rich_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['rich'] = None; from dp_coordinator.cli import main; sys.exit(main(['top']))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == (
        "dp-coordinator top: this needs Rich, which is not installed: pip install 'dp-coordinator[top]'.\n"
    )
