"""For people: aligned tables, ages, local times. What was never reported reads "never" or "-", never 0."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from dp_coordinator import sentences
from dp_coordinator.messages import Action, Engine, Event, State, WaveInfo
from dp_coordinator.texts import A_LINE, shown
from dp_coordinator.words import ActionState

T = TypeVar("T")
UNKNOWN = "-"
_NO_REPORT = "no engine has reported yet"


def duration(seconds: float | None) -> str:
    """The duration; "-" when not known."""
    return UNKNOWN if seconds is None else sentences.duration(seconds)


def clock(at: float | None) -> str:
    """Local time of day of a Unix time, to the millisecond; "-" when not known."""
    if at is None:
        return UNKNOWN
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at % 1 * 1000):03d}"


def known(value: float | None, form: str = "", unknown: str = UNKNOWN) -> str:
    """The number in this format; something else when it was never reported."""
    return unknown if value is None else format(value, form)


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table for people; `width` and `rank` are for a display that has no room for all."""

    head: str
    cell: Callable[[T], str]
    left: bool = False
    width: int = 0
    rank: int = 0
    """The higher, the sooner it is left out; 0: never."""


ENGINES: Sequence[Column[Engine]] = (
    Column("rank", lambda row: str(row.index), width=5),
    Column("status", lambda row: row.status, left=True, width=7),
    Column("waiting", lambda row: known(row.waiting), width=7),
    Column("running", lambda row: known(row.running), width=7),
    Column("kv cache", lambda row: known(row.kv_cache_usage, ".1%"), width=8, rank=2),
    Column("wave", lambda row: known(row.current_wave), width=6, rank=3),
    Column("step", lambda row: known(row.step_counter), width=8, rank=4),
    Column("last report", lambda row: "never" if row.age_s is None else f"{duration(row.age_s)} ago", width=15, rank=1),
    Column("restarts", lambda row: str(row.restarts), width=8, rank=5),
)
WAVES: Sequence[Column[WaveInfo]] = (
    Column("wave", lambda row: str(row.number)),
    Column("state", lambda row: "open" if row.open else "completed" if row.completed else "ended", left=True),
    Column(
        "started by",
        lambda row: row.cause if row.cause_engine is None else f"{row.cause} (rank {row.cause_engine})",
        left=True,
    ),
    Column("asked", lambda row: clock(row.asked_at)),
    Column("started", lambda row: clock(row.started_at)),
    Column("ended", lambda row: clock(row.ended_at)),
    Column("lasted", lambda row: duration(row.duration_s)),
    Column("peak waiting", lambda row: known(row.peak_waiting)),
    Column("peak running", lambda row: known(row.peak_running)),
)


def table(columns: Sequence[Column[T]], rows: Iterable[T]) -> str:
    """Columns wide enough for their content."""
    lines = [[column.head for column in columns], *([clean(column.cell(row)) for column in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column.left else cell.rjust(width)
            for column, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def state(now: State) -> str:
    """What `dp-coordinator state` prints: the state in words, sums, then the engines."""
    missing = "" if now.ready else ", not ready yet"
    there = "told of" if now.watching else f"subscribed{missing}"
    facts = {
        "state": f"{now.state_text} (for {duration(now.state_age_s)})",
        "engines": f"{now.engines_subscribed} of {now.engine_count} {there}",
        **({} if now.watching else {"front-ends": str(now.front_ends)}),
        "waiting": known(now.totals.waiting, unknown=_NO_REPORT),
        "running": known(now.totals.running, unknown=_NO_REPORT),
        **({} if now.totals.left_out is None else {"not counted": now.totals.left_out}),
        **({} if now.watching else _coordinator(now)),
        "up for": f"{duration(now.uptime_s)}, state {duration(now.data_age_s)} old",
        "restarts": _restarts(now),
    }
    if now.recovery is not None:
        facts["recovery"] = f"{now.recovery.text}, at {clock(now.recovery.resumed_at)}"
    width = max(map(len, facts))
    lines = [f"{name.ljust(width)}  {clean(value)}" for name, value in facts.items()]
    return "\n".join([*lines, "", table(ENGINES, now.engines)])


def _coordinator(now: State) -> dict[str, str]:
    return {
        "manual start": f"blocked: {now.start_blocked}" if now.start_blocked else "possible",
        "dialect": f"vLLM {now.dialect}, wave coordination {'on' if now.wave_coordination else 'off'}",
    }


def _restarts(now: State) -> str:
    if now.restarts == 0:
        return f"none (process {now.pid})"
    return f"{now.restarts}, the last {duration(now.uptime_s)} ago (process {now.pid})"


def engines(rows: Sequence[Engine]) -> str:
    """The engine table, and where each rank is."""
    return table((*ENGINES, PLACE), rows)


def _place(row: Engine) -> str:
    if (peer := row.peer) is None:
        return UNKNOWN if row.sourced is None else f"{row.sourced.source} {row.sourced.target}"
    return peer.name if peer.why is None else f"{peer.name}: {peer.why}, {clock(peer.ended_at)}"


PLACE: Column[Engine] = Column("place", _place, left=True)
"""Where each rank is; not in snapshots of the stream."""


def waves(rows: Sequence[WaveInfo]) -> str:
    """The wave table, newest first."""
    return table(WAVES, rows) if rows else "no wave has been seen yet"


def event(entry: Event) -> str:
    """One log entry on one line; text from outside cannot break the line or steer the terminal."""
    return f"{entry.seq:>6}  {clock(entry.at)}  {clean(entry.kind):<24}  {clean(entry.text)}"


def action(now: Action) -> str:
    """A manual start's outcome, then the ranks that joined."""
    lines = [clean(now.summary)]
    lines += [f"  rank {seen.engine_index}: joined after {duration(seen.after_s)}" for seen in now.joined]
    if now.silent and now.state == ActionState.TIMED_OUT:
        lines.append(f"  silent: {sentences.ranks(now.silent)}")
    return "\n".join(lines)


def clean(text: str) -> str:
    """Text from outside with what would steer a terminal escaped: what answers need not be a coordinator of ours."""
    return shown(text, A_LINE)
