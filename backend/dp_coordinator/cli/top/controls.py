"""What each key does, as a pure function: choices and a key in, choices and perhaps a wish out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias

from dp_coordinator.cli.top.keys import BACKSPACE, ENTER, ESCAPE
from dp_coordinator.cli.top.scene import Choices, Held, Scene
from dp_coordinator.cli.top.start import LONGEST_REASON, Prompt, blocked
from dp_coordinator.cli.top.tables import SORTS, in_order

LONGEST_FILTER = 200
LOG_STEP = 5
Wish: TypeAlias = Literal["quit", "retry", "ask"] | None
"""What is to be done beyond drawing; "ask": start a wave as the prompt says."""
Pressed: TypeAlias = tuple[Choices, Wish]
_ALIASES = {"down": "j", "up": "k", "home": "g", "end": "G", "Q": "q", "h": "?", " ": "page down", "b": "page up"}


def press(key: str, scene: Scene, now: float, page: int, last_offset: int) -> Pressed:
    """What a key does. `page` and `last_offset` are the screen's as it was drawn last."""
    choices = replace(scene.choices, notice=None)
    if choices.prompt is not None:
        return _typed(key, choices, choices.prompt)
    if choices.filtering:
        return _filtered(key, choices), None
    key = _ALIASES.get(key, key)
    if choices.rank is not None and key in ("j", "k"):
        return replace(choices, rank=_beside(choices.rank, scene, 1 if key == "j" else -1)), None
    moved = _scrolled(key, min(choices.offset, last_offset), page, last_offset)
    if moved is not None:
        return replace(choices, offset=min(max(0, moved), last_offset)), None
    act = _ACTS.get(key)
    return (choices, None) if act is None else act(choices, scene, now)


def _scrolled(key: str, offset: int, page: int, last_offset: int) -> int | None:
    return {
        "j": offset + 1,
        "k": offset - 1,
        "page down": offset + page,
        "page up": offset - page,
        "g": 0,
        "G": last_offset,
    }.get(key)


def _typed(key: str, choices: Choices, prompt: Prompt) -> Pressed:
    """A key while a reason is being typed: most are a part of it."""
    text = prompt.text
    if key == ESCAPE:
        return replace(choices, prompt=None), None
    if key == ENTER:
        return (choices, "ask") if text.strip() else (choices, None)
    if key == BACKSPACE:
        text = text[:-1]
    elif key == "clear":
        text = ""
    elif len(key) == 1:
        text = (text + key)[:LONGEST_REASON]
    return replace(choices, prompt=replace(prompt, text=text)), None


def _filtered(key: str, choices: Choices) -> Choices:
    """A key while the filter is being typed: what it keeps is seen at once."""
    text = choices.filter
    if key in (ENTER, ESCAPE):
        return replace(choices, filtering=False, filter=text if key == ENTER else "", offset=0)
    if key == BACKSPACE:
        text = text[:-1]
    elif key == "clear":
        text = ""
    elif len(key) == 1:
        text = (text + key)[:LONGEST_FILTER]
    return replace(choices, filter=text, offset=0)


def _beside(rank: int, scene: Scene, step: int) -> int:
    """The rank that stands below or above in the table."""
    order = [row.index for row in in_order(scene)]
    return order[min(max(0, order.index(rank) + step), len(order) - 1)] if rank in order else rank


def _look_closely(choices: Choices, scene: Scene, now: float) -> Pressed:
    order = in_order(scene)
    if choices.rank is not None or not order:
        return replace(choices, rank=None), None
    return replace(choices, rank=order[min(choices.offset, len(order) - 1)].index, help=False), None


def _log_scrolled(by: int) -> Callable[[Choices, Scene, float], Pressed]:
    def scroll(choices: Choices, scene: Scene, now: float) -> Pressed:
        oldest = max(0, len(scene.shown.log) - 1)
        return replace(choices, log_offset=min(max(0, choices.log_offset + by), oldest)), None

    return scroll


def _start(choices: Choices, scene: Scene, now: float) -> Pressed:
    why = blocked(scene.live, scene.link)
    asked = choices.asked
    if asked is not None and asked.action is None and asked.problem is None:
        why = why or "a start is just being asked for"
    if why is not None or scene.live.snapshot is None:
        return replace(choices, notice=f"no wave can be started now: {why}"), None
    # The display goes on: what is observed of a start must be seen.
    prompt = Prompt(scene.live.snapshot.current_wave)
    return replace(choices, prompt=prompt, asked=None, held=None, help=False), None


def _pause(choices: Choices, scene: Scene, now: float) -> Pressed:
    if choices.held is not None:
        return replace(choices, held=None), None
    if scene.live.snapshot is None:
        return replace(choices, notice="there is nothing to pause yet"), None
    return replace(choices, held=Held(scene.live, now)), None


def _sort(choices: Choices, scene: Scene, now: float) -> Pressed:
    following = SORTS[(SORTS.index(choices.sort) + 1) % len(SORTS)]
    return replace(choices, sort=following, offset=0), None


def _escape(choices: Choices, scene: Scene, now: float) -> Pressed:
    if choices.help:
        return replace(choices, help=False), None
    if choices.rank is not None:
        return replace(choices, rank=None), None
    return replace(choices, asked=None, filter="", log_offset=0), None


_ACTS: dict[str, Callable[[Choices, Scene, float], Pressed]] = {
    "s": _start,
    "/": lambda choices, scene, now: (replace(choices, filtering=True, help=False), None),
    ENTER: _look_closely,
    "K": _log_scrolled(LOG_STEP),
    "J": _log_scrolled(-LOG_STEP),
    "p": _pause,
    "o": _sort,
    ESCAPE: _escape,
    "?": lambda choices, scene, now: (replace(choices, help=not choices.help), None),
    "r": lambda choices, scene, now: (choices, "retry"),
    "q": lambda choices, scene, now: (choices, "quit"),
    "end of input": lambda choices, scene, now: (choices, "quit"),
}
