"""`dp-coordinator top` without a terminal: what keys do."""

from __future__ import annotations

import re

import pytest

from dp_coordinator.cli.top.controls import press
from dp_coordinator.cli.top.keys import Keys
from dp_coordinator.cli.top.live import Link, Live, apply, parse
from dp_coordinator.cli.top.scene import Choices, Scene
from dp_coordinator.cli.top.screen import compose
from dp_coordinator.cli.top.start import Asked, Prompt
from tests.cli.scenes import (
    LOST,
    OPEN,
    live,
    picture,
    scene,
    text,
)


def pressed(keys: list[str], shown: Scene) -> tuple[Choices, str | None]:
    wish = None
    for key in keys:
        drawn = compose(shown, 10.0, 80, 24)
        choices, wish = press(key, shown, 10.0, drawn.page, drawn.last_offset)
        shown = Scene(shown.live, shown.link, choices, shown.url)
    return shown.choices, wish


@pytest.mark.parametrize(
    ("keys", "first"),
    [(["j", "down"], 2), (["k"], 0), (["page down"], 8), (["G"], 56), (["G", "j"], 56), (["G", "up", "g"], 0)],
)
def test_scrolling(keys: list[str], first: int) -> None:
    shown = scene(live(count=64))
    choices, _ = pressed(keys, shown)
    assert choices.offset == first
    assert f"ENGINES {first + 1} to {first + 8} of 64" in text(Scene(shown.live, OPEN, choices))


@pytest.mark.parametrize(
    ("times", "ranks"), [(0, [0, 1, 2]), (1, [2, 0, 1]), (2, [2, 0, 1]), (3, [0, 2, 1]), (4, [0, 1, 2])]
)
def test_sorting_puts_those_that_never_reported_last(times: int, ranks: list[int]) -> None:
    choices, _ = pressed(["o"] * times, scene())
    lines = [line for line in picture(scene(sort=choices.sort)) if re.match(r" +\d  (never|working|idle|quiet)", line)]
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
        (apply(live(), parse('{"type": "hello", "protocol": 99, "version": "9"}'), 11.0), OPEN, "does not understand"),
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
