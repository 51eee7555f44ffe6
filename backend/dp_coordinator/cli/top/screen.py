"""The whole screen as one renderable: a pure function of a scene, a moment and a size."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.styled import Styled
from rich.text import Text

from dp_coordinator.cli.top import head, tables
from dp_coordinator.cli.top.scene import Scene
from dp_coordinator.cli.top.start import LONGEST_REASON, Prompt, blocked, outcome

SIDE_BY_SIDE = 120
"""Columns from which on waves and log stand beside each other."""
_KEYS = "s start wave   p pause   o sort   j/k scroll   ? help   q quit"
_FEW_KEYS = "s start  p pause  ? help  q quit"
HELP = (
    ("s", "start a wave: type a reason, Enter asks, Esc cancels; then what was observed"),
    ("p", "pause the display and go on; the coordinator is not touched"),
    ("o", f"sort the engines by {', '.join(tables.SORTS)}"),
    ("j k, arrows", "scroll the engines; PgUp PgDn by a screenful, g G to the ends"),
    ("r", "try to connect now"),
    ("Esc", "take away what was observed, or this help"),
    ("q, Ctrl-C", "quit"),
)
MEANINGS = (
    ("never, -", "was never reported; not 0"),
    ("quiet", "has requests and nothing new to report, which is normal"),
    ("suspect", "an alarm names it"),
    ("gone", "its connection ended"),
    ("unknown", "disconnected: nobody can say whether the rank is silent"),
)


@dataclass(frozen=True, slots=True)
class Screen:
    """What to show, and what it means for scrolling."""

    picture: RenderableType
    page: int
    """Engine rows that fit."""
    last_offset: int
    """Beyond this there is nothing to scroll to."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Lines for each part of the body, titles included; 0: left out."""

    engines: int
    waves: int
    log: int


def plan(lines: int, engine_count: int, wave_count: int, *, beside: bool) -> Plan:
    """Share the lines: engines first, but waves and log are not pushed out by hundreds of them."""
    kept = min(10, lines // 3) if beside else min(14, lines // 2)
    below = max(kept, lines - engine_count - 2)
    if below < 3 or lines < 8:
        return Plan(max(0, lines), 0, 0)
    if beside:
        return Plan(lines - below, below, below)
    waves = min(max(3, wave_count + 2), 7, below // 2)
    return Plan(lines - below, waves, below - waves) if waves >= 3 else Plan(lines - below, 0, below)


def compose(scene: Scene, now: float, width: int, height: int) -> Screen:
    """The screen at this size: header and strips, the tables, what the keys do."""
    top = head.header(scene, now, width) + head.strips(scene, now, width, height)
    bottom = foot(scene, width)[: max(1, height // 2)]
    top = top[: max(1, height - len(bottom))]
    lines = height - len(top) - len(bottom)
    snapshot = scene.shown.snapshot
    beside = width >= SIDE_BY_SIDE
    count = 0 if snapshot is None else len(snapshot.engines.restarts)
    planned = plan(lines, count, len(tables.known_waves(scene)), beside=beside)
    page = max(0, planned.engines - 2)
    body = _help(width) if scene.choices.help else _body(scene, now, width, planned, beside=beside)
    whole = Layout()
    whole.split_column(
        Layout(Group(*top), size=len(top)),
        Layout(body, size=lines, visible=lines > 0),
        Layout(Group(*bottom), size=len(bottom)),
    )
    return Screen(whole, page, max(0, count - page) if page else 0)


def _body(scene: Scene, now: float, width: int, planned: Plan, *, beside: bool) -> RenderableType:
    engines: RenderableType = Text("")
    if scene.shown.snapshot is not None:
        engines = tables.engines(scene, now, width, planned.engines)
    elif not scene.shown.log:
        return engines
    waves = tables.waves(scene, now, width // 2 if beside else width, planned.waves)
    log = tables.log(scene, planned.log)
    below = Layout(size=planned.waves + planned.log, visible=planned.log > 0)
    if beside:
        below.size = planned.log
        below.split_row(Layout(waves), Layout(log))
    else:
        below.split_column(Layout(waves, size=planned.waves, visible=planned.waves > 0), Layout(log, size=planned.log))
    whole = Layout()
    whole.split_column(Layout(engines, size=planned.engines), below)
    # Numbers that nobody vouches for any more are grey; that they are old is said in words too.
    return Styled(whole, "" if scene.connected else "dim")


def _help(width: int) -> RenderableType:
    lines: list[Text] = []
    for heading, pairs in (("KEYS", HELP), ("WORDS", MEANINGS)):
        lines.append(Text(heading, "bold"))
        for key, meaning in pairs:
            lines += head.wrapped(f"{key:<13}{meaning}", width)
        lines.append(Text(""))
    return Group(*lines)


def foot(scene: Scene, width: int) -> list[Text]:
    """The last lines: the question that is open, or what came of the last one, and the keys."""
    choices = scene.choices
    if choices.prompt is not None:
        return _question(scene, choices.prompt, width)
    lines: list[Text] = []
    if choices.asked is not None:
        said = outcome(choices.asked, scene.live, scene.link)
        for text in said:
            lines += head.wrapped(text, width, "bold" if text is said[0] else "")
        lines = [*lines[:6], Text("  Esc takes this away", "dim")]
    if choices.notice is not None:
        lines += head.wrapped(choices.notice, width, "bold yellow")
    keys = _KEYS if width >= len(_KEYS) else _FEW_KEYS
    if scene.live.snapshot is not None and scene.live.snapshot.watching:  # there is nothing that could be started
        keys = keys.partition("  ")[2].lstrip()
    return [*lines, Text(keys, "reverse", no_wrap=True, overflow="crop")]


def _question(scene: Scene, prompt: Prompt, width: int) -> list[Text]:
    lines = head.wrapped(f"Start wave {prompt.wave}: why? (for the event log; Enter asks, Esc cancels)", width, "bold")
    snapshot = scene.live.snapshot
    if snapshot is not None and snapshot.current_wave != prompt.wave:
        lines += head.wrapped(
            f"the current wave has become {snapshot.current_wave}: it would be refused", width, head.WARN
        )
    elif (why := blocked(scene.live, scene.link)) is not None:
        lines += head.wrapped(f"not now: {why}", width, head.WARN)
    if len(prompt.text) >= LONGEST_REASON:
        lines += head.wrapped(f"no more than {LONGEST_REASON} characters", width, head.WARN)
    shown = prompt.text
    while shown and cell_len(shown) > width - 3:  # the end is what is being typed
        shown = shown[1:]
    typed = Text(f"> {shown}", no_wrap=True)
    return [*lines, typed.append("_", "blink")]
