"""What each key does, as a pure function: choices and a key in, choices and perhaps a wish out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias

from dp_coordinator.cli.top.keys import BACKSPACE, ENTER, ESCAPE
from dp_coordinator.cli.top.scene import Choices, Held, Scene
from dp_coordinator.cli.top.start import LONGEST_REASON, Prompt, blocked
from dp_coordinator.cli.top.tables import SORTS

Wish: TypeAlias = Literal["quit", "retry", "ask"] | None
"""What is to be done beyond drawing; "ask": start a wave as the prompt says."""
Pressed: TypeAlias = tuple[Choices, Wish]
_ALIASES = {"down": "j", "up": "k", "home": "g", "end": "G", "Q": "q", "h": "?", " ": "page down", "b": "page up"}


def press(key: str, scene: Scene, now: float, page: int, last_offset: int) -> Pressed:
    """What a key does. `page` and `last_offset` are the screen's as it was drawn last."""
    choices = replace(scene.choices, notice=None)
    if choices.prompt is not None:
        return _typed(key, choices, choices.prompt)
    key = _ALIASES.get(key, key)
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
    return (replace(choices, help=False) if choices.help else replace(choices, asked=None)), None


_ACTS: dict[str, Callable[[Choices, Scene, float], Pressed]] = {
    "s": _start,
    "p": _pause,
    "o": _sort,
    ESCAPE: _escape,
    "?": lambda choices, scene, now: (replace(choices, help=not choices.help), None),
    "r": lambda choices, scene, now: (choices, "retry"),
    "q": lambda choices, scene, now: (choices, "quit"),
    "end of input": lambda choices, scene, now: (choices, "quit"),
}
