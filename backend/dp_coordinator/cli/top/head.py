"""The top of the screen: the state in a few lines, and strips that are there only when there is something to say."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.text import Text

from dp_coordinator.cli import render
from dp_coordinator.cli.top.live import Live
from dp_coordinator.cli.top.scene import Scene
from dp_coordinator.messages import SnapshotMessage
from dp_coordinator.words import DeploymentState, Severity, Tone

LIVE = 2.0
"""Seconds: older data is no longer called live."""
_NEVER = "never reported"
_NARROWEST = 8
"""Columns; what is narrower is cut off."""
BAD, WARN, GOOD = "bold white on red", "bold black on yellow", "black on green"
STYLES = {Tone.BAD: BAD, Tone.WARN: WARN, Tone.GOOD: GOOD, Tone.PLAIN: "black on cyan"}


def flow(parts: Iterable[Text], width: int) -> list[Text]:
    """The parts one after the other, on as many lines as it takes."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + 3 + part.cell_len <= width:
            lines[-1].append("   ").append_text(part)
        else:
            lines.append(part.copy())
    return lines


def wrapped(text: str, width: int, style: str = "", most: int = 3) -> list[Text]:
    """A sentence on as many lines as it takes, at most so many, each filled up so that its ground is a strip."""
    lines = textwrap.wrap(render.clean(text), max(_NARROWEST, width), max_lines=most, placeholder=" ...")
    return [Text(line.ljust(width), style, no_wrap=True) for line in lines]


def header(scene: Scene, now: float, width: int) -> list[Text]:
    """State, wave, load, who is there, and how old that is."""
    snapshot = scene.shown.snapshot
    if snapshot is None:
        return flow([Text(" NO DATA ", "reverse bold"), Text(f"from {scene.url}"), _age(scene, now)], width)
    return flow(_facts(scene, snapshot, now), width)


def _facts(scene: Scene, snapshot: SnapshotMessage, now: float) -> Iterator[Text]:
    age = snapshot.state_age_s + scene.elapsed(now)
    for_ = f" for {render.duration(age)}" if scene.connected else " when last heard"
    yield Text.assemble((f" {snapshot.state.upper()} ", f"bold {STYLES[snapshot.state_tone]}"), for_)
    if not snapshot.watching or snapshot.wave_coordination:
        yield _fact("wave", str(snapshot.current_wave))
    yield _fact("waiting", render.known(snapshot.totals.waiting, unknown=_NEVER))
    yield _fact("running", render.known(snapshot.totals.running, unknown=_NEVER))
    if snapshot.totals.left_out is not None:
        yield _fact("not counted", snapshot.totals.left_out)
    yield _fact("engines", f"{snapshot.engines_subscribed} of {snapshot.engine_count}")
    if not snapshot.watching:
        yield _fact("front-ends", str(snapshot.front_ends))
    yield _age(scene, now)
    if snapshot.restarts:
        yield _fact("restarts", str(snapshot.restarts))
    yield _fact("alarms", str(len(snapshot.alarms) or "none"))


def _fact(name: str, value: str) -> Text:
    return Text.assemble((f"{name} ", "dim"), (render.clean(value), "bold"))


def data_age(live: Live, now: float) -> float | None:
    """Seconds since the coordinator vouched for what is known; None when nothing is."""
    return None if live.snapshot is None else live.snapshot.data_age_s + max(0.0, now - live.snapshot_at)


def _age(scene: Scene, now: float) -> Text:
    age = data_age(scene.shown, now)
    if age is None:
        return Text("waiting for data" if scene.connected else "not connected")
    if scene.choices.held is None and scene.connected and age <= LIVE:
        return Text(f"live, {age * 1000:.0f} ms", "green")
    return Text(f"data is {render.duration(age)} old", "bold yellow")


@dataclass(frozen=True, slots=True)
class _Strip:
    text: str
    style: str = ""
    most: int = 3
    """Lines."""


def strips(scene: Scene, now: float, width: int, height: int) -> list[Text]:
    """What stands below the header, the gravest first; `height` lines of the whole screen bound how much of it."""
    said = [*_lost(scene, now, width), *_not_understood(scene.live), *_held(scene, now)]
    snapshot = scene.shown.snapshot
    if snapshot is not None:
        said += _alarms(snapshot, scene.elapsed(now), height)
        if scene.connected:
            said += _awaited(snapshot)
    return [line for strip in said for line in wrapped(strip.text, width, strip.style, strip.most)]


def _lost(scene: Scene, now: float, width: int) -> Iterator[_Strip]:
    link = scene.link
    if link.state == "connecting":
        yield _Strip(f" connecting to {scene.url} ...", WARN)
    elif link.state == "lost":
        age = data_age(scene.live, now)
        old = "Nothing was heard so far." if age is None else f"All numbers are {render.duration(age)} old."
        wait = math.ceil(link.retry_at - now)
        next_ = f"next try in {wait} s (r tries now)" if wait > 0 else "trying now ..."
        yield _Strip(f"*** DISCONNECTED ***   {next_}".center(width), BAD)
        yield _Strip(f" {scene.url}: {link.why}. {old}", BAD)


def _not_understood(live: Live) -> Iterator[_Strip]:
    if live.outdated is not None:
        said = f" The coordinator is of version {live.outdated} and speaks another stream: update this dp-coordinator."
        yield _Strip(said, BAD)
    elif live.ignored:
        version = "" if live.hello is None else f" of version {live.hello.version}"
        what = "1 message" if live.ignored == 1 else f"{live.ignored} messages"
        yield _Strip(f" {what} of the coordinator{version} not understood: update this one", WARN)


def _held(scene: Scene, now: float) -> Iterator[_Strip]:
    held = scene.choices.held
    if held is not None:
        at = render.clock(None if held.live.snapshot is None else held.live.snapshot.at)
        yield _Strip(f" DISPLAY PAUSED: as of {at}, {render.duration(now - held.at)} ago (p goes on)", WARN)


def _alarms(snapshot: SnapshotMessage, elapsed: float, height: int) -> Iterator[_Strip]:
    most = max(1, height // 8)
    for alarm in snapshot.alarms[:most]:
        word, style = ("CRITICAL", BAD) if alarm.severity == Severity.CRITICAL else ("WARNING", WARN)
        yield _Strip(f" {word} for {render.duration(alarm.age_s + elapsed)}: {alarm.title}", style, 2)
        if height >= 30:
            yield _Strip(f"   {alarm.remedy}", most=2)
    if (more := len(snapshot.alarms) - most) > 0:
        yield _Strip(f" and {more} more alarm{'s' if more > 1 else ''}", WARN)


def _awaited(snapshot: SnapshotMessage) -> Iterator[_Strip]:
    """What the coordinator says of now; who has yet to come, and where to."""
    for notice in snapshot.notices:
        yield _Strip(f" {notice.text}", STYLES[notice.tone])
    if snapshot.state in {DeploymentState.STARTING, DeploymentState.RUNNING} and not snapshot.notices:
        yield _Strip(f" {snapshot.state_text}")
    ends = snapshot.endpoints
    if not snapshot.ready:
        yield _Strip(
            f" {snapshot.engines_subscribed} of {snapshot.engine_count} engines are subscribed; they connect to"
        )
        yield _Strip(f"   back_publish {ends.back_publish}")
        yield _Strip(f"   back_output  {ends.back_output}")
    elif snapshot.front_ends == 0 and snapshot.state != DeploymentState.RECOVERING:
        yield _Strip(f" no front-end is subscribed; they connect to {ends.front_publish}")
