"""For people: aligned tables, ages, local times. What was never reported reads "never" or "-", never 0."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dp_coordinator.messages import Action, Engine, Event, Recovery, State, WaveInfo

UNKNOWN = "-"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: frozenset[int] = frozenset()) -> str:
    """Columns wide enough for their content, set right but for those numbered in `left`."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def duration(seconds: float | None) -> str:
    """`120 ms`, `4.12 s`, `34.5 s`, `12 min 5 s`, `3 h 20 min`; "-" when not known."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def clock(at: float | None) -> str:
    """Local time of day of a Unix time, to the millisecond; "-" when not known."""
    if at is None:
        return UNKNOWN
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at % 1 * 1000):03d}"


def number(value: int | None) -> str:
    """The number; "-" when it was never reported."""
    return UNKNOWN if value is None else str(value)


def share(value: float | None) -> str:
    """A part of one as a percentage; "-" when it was never reported."""
    return UNKNOWN if value is None else f"{value:.1%}"


def ranks(indexes: Sequence[int]) -> str:
    """`rank 3`, `ranks 0, 2`."""
    return f"rank{'s' if len(indexes) != 1 else ''} {', '.join(map(str, indexes))}"


def engines(rows: Sequence[Engine]) -> str:
    """The engine table."""
    return table(
        ["rank", "status", "waiting", "running", "kv cache", "wave", "step", "last report", "restarts"],
        [
            [
                str(row.index),
                row.status,
                number(row.waiting),
                number(row.running),
                share(row.kv_cache_usage),
                number(row.current_wave),
                number(row.step_counter),
                "never" if row.age_s is None else f"{duration(row.age_s)} ago",
                str(row.restarts),
            ]
            for row in rows
        ],
        left=frozenset({1}),
    )


def state(now: State) -> str:
    """What `dp-coordinator state` prints: the phase in words, sums, then the engines."""
    facts = [
        ["wave", phase(now)],
        [
            "engines",
            f"{now.engines_subscribed} of {now.engine_count} subscribed{'' if now.ready else ', not ready yet'}",
        ],
        ["front-ends", str(now.front_ends)],
        ["waiting", _total(now.totals.waiting)],
        ["running", _total(now.totals.running)],
        ["manual start", f"blocked: {now.start_blocked}" if now.start_blocked else "possible"],
        ["dialect", f"vLLM {now.dialect}, wave coordination {'on' if now.wave_coordination else 'off'}"],
        ["up for", f"{duration(now.uptime_s)}, state {duration(now.data_age_s)} old"],
        ["restarts", _restarts(now)],
        *([["recovery", recovery(now.recovery)]] if now.recovery is not None else []),
    ]
    width = max(len(name) for name, _ in facts)
    lines = [f"{name.ljust(width)}  {value}" for name, value in facts]
    return "\n".join([*lines, "", engines(now.engines)])


def _restarts(now: State) -> str:
    if now.restarts == 0:
        return f"none (process {now.pid})"
    return f"{now.restarts}, the last {duration(now.uptime_s)} ago (process {now.pid})"


def recovery(now: Recovery) -> str:
    """How far a restart has got, in words."""
    resumed = f"wave {now.resumed_wave} was resumed at {clock(now.resumed_at)}"
    back = f"{now.engines_back} of {now.engines_expected} engines are back"
    if now.phase == "rejoining":
        return f"under way: {back}; {resumed}"
    if now.phase == "settling":
        return f"under way: {back} and START was sent; the end of a wave is awaited; {resumed}"
    took = None if now.finished_at is None else now.finished_at - now.resumed_at
    return f"done after {duration(took)}; {resumed}"


def phase(now: State) -> str:
    """The phase in words, with what was asked apart from what was seen."""
    since = f"for {duration(now.phase_age_s)}"
    if now.phase == "paused" and now.recovery is not None and now.recovery.phase == "rejoining":
        return f"{now.current_wave}; what the engines do is not known yet"
    if now.phase == "paused":
        return f"paused {since}; the next wave is {now.current_wave}"
    seen = f"{len(now.stepping)} of {now.engine_count} ranks seen stepping"
    if now.phase == "starting":
        asked = "" if now.asked_age_s is None else f", asked {duration(now.asked_age_s)} ago"
        return f"{now.current_wave} is starting{asked}; {seen}"
    return f"{now.current_wave} is running {since}; {seen}"


def _total(value: int | None) -> str:
    return "no engine has reported yet" if value is None else str(value)


def waves(rows: Sequence[WaveInfo]) -> str:
    """The wave table, newest first."""
    if not rows:
        return "no wave has been seen yet"
    return table(
        ["wave", "state", "started by", "asked", "started", "ended", "lasted", "peak waiting", "peak running"],
        [
            [
                str(row.number),
                "open" if row.open else "completed" if row.completed else "ended",
                row.cause if row.cause_engine is None else f"{row.cause} (rank {row.cause_engine})",
                clock(row.asked_at),
                clock(row.started_at),
                clock(row.ended_at),
                duration(row.duration_s),
                str(row.peak_waiting),
                str(row.peak_running),
            ]
            for row in rows
        ],
        left=frozenset({1, 2}),
    )


def event(entry: Event) -> str:
    """One log entry on one line; text from outside cannot break the line or steer the terminal."""
    fields = " ".join(f"{key}={_plain(value)}" for key, value in entry.fields.items() if value is not None)
    return f"{entry.seq:>6}  {clock(entry.at)}  {entry.kind:<24}  {fields}".rstrip()


def _plain(value: object) -> str:
    text = str(value)
    return repr(text) if not text.isprintable() or " " in text else text


def action(now: Action) -> str:
    """A manual start's outcome, then the ranks that were seen."""
    lines = [clean(now.summary)]
    lines += [f"  rank {seen.engine_index}: seen after {duration(seen.after_s)}" for seen in now.seen]
    if now.silent and now.state == "timed_out":
        lines.append(f"  silent: {ranks(now.silent)}")
    return "\n".join(lines)


def clean(text: str) -> str:
    """Text from outside without characters that steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
