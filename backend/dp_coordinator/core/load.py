"""Per-engine load: the newest counts, whole-step snapshots of them, and when to publish.

Engines of a mixture-of-experts model step in lockstep, and each reports by itself. Counts taken in the middle of a step
mix two moments and make a balancer oscillate; so when a report opens a later (wave, step) than any seen, the counts as
they stood are kept as the last whole step, and that is what the next publication says.
Source: vllm/v1/engine/coordinator.py, `process_input_socket`, vLLM 0.10.2 to 0.33.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias, TypeVar

from dp_coordinator.core.effects import EngineCounts
from dp_coordinator.core.events import EngineStatsReported
from dp_coordinator.core.snapshot import EngineColumns
from dp_coordinator.core.state import Load

T = TypeVar("T")

Notable: TypeAlias = tuple[EngineStatsReported, "tuple[int, int] | None", "float | None"]
"""A first report (None), or one that goes back behind the (wave, step) its engine had before, and when it had that.

An engine's channel is FIFO, so one that goes back has restarted, or counts anew.
"""
NEVER_REPORTED: EngineCounts = (0, 0, 0.0)
IDLE_INTERVAL = 5.0
"""Seconds between publications while nothing changes (vLLM 0.10.2 on)."""
SETTLE = 0.05
"""Seconds that a first change waits for the other engines' reports of its step, and any publication after a notice.

In vLLM (0.10.2 on) both are one: its loop publishes when nothing at all has come for 50 ms (`min_timeout`).
"""

_BEFORE_ANY_STEP = (-1, -1)


def empty(engine_count: int, *, lockstep: bool, interval: float) -> Load:
    """The table of engines that never reported. `interval`: least seconds between publications of changes."""
    return Load(
        lockstep=lockstep,
        interval=interval,
        counts=[NEVER_REPORTED] * engine_count,
        steps=[_BEFORE_ANY_STEP] * engine_count,
        reported_at=[None] * engine_count,
        restarts=[0] * engine_count,
        newest_step=_BEFORE_ANY_STEP,
    )


def take(
    table: Load, reports: Sequence[EngineStatsReported], now: float
) -> tuple[list[Notable], list[EngineStatsReported]]:
    """Take reports in order; returns those that are more than a change of load, and those of engines there are not.

    The hot path: everything is in locals, and nothing is called per report.
    """
    counts, steps, reported_at, lockstep = table.counts, table.steps, table.reported_at, table.lockstep
    newest, changed = table.newest_step, table.changed_at is not None
    waiting, running = table.total_waiting, table.total_running
    peak_waiting, peak_running = table.peak_waiting, table.peak_running
    notable, beyond, engine_count = list[Notable](), list[EngineStatsReported](), len(counts)
    for report in reports:
        index = report.engine_index
        if not 0 <= index < engine_count:
            beyond.append(report)
            continue
        step = (report.current_wave, report.step_counter)
        before = steps[index]
        if step > newest:
            # Every rank that was going to report the step before has done so, or is late: what stands now is the best
            # picture of one moment. Without changes since the last publication front-ends have it already.
            if changed and lockstep:
                table.whole_step = counts.copy()
            newest = step
        steps[index] = step
        if step < before:
            # Of engines that are a little behind the others, vLLM warns; that is normal, and says nothing of a fault.
            # Behind its own last report is something else. vLLM takes no more whole steps until the restarted engines
            # have passed the old ones; to compare with what engines say now has them at once.
            notable.append((report, before, reported_at[index]))
            newest = max(steps)
        elif reported_at[index] is None:
            notable.append((report, None, None))
        reported_at[index] = now
        was_waiting, was_running, _ = counts[index]
        counts[index] = (report.waiting, report.running, report.kv_cache_usage)
        waiting += report.waiting - was_waiting
        running += report.running - was_running
        if waiting > peak_waiting:  # noqa: PLR1730  (max() is a call, and costs a tenth of the whole)
            peak_waiting = waiting
        if running > peak_running:  # noqa: PLR1730
            peak_running = running
        changed = True
    table.newest_step = newest
    table.total_waiting, table.total_running = waiting, running
    table.peak_waiting, table.peak_running = peak_waiting, peak_running
    if table.changed_at is None and len(beyond) < len(reports):
        table.changed_at = now
    return notable, beyond


def restart_peaks(table: Load) -> None:
    """Peaks count anew from here: a wave begins."""
    table.peak_waiting, table.peak_running = table.total_waiting, table.total_running


def begin(table: Load, now: float) -> None:
    """Publications begin: the first is due at once, or after the reports of one step had time to come in."""
    table.published_at = now - IDLE_INTERVAL + (SETTLE if table.lockstep else 0.0)


def resume(table: Load, now: float) -> None:
    """Publications go on after a crash. Front-ends know better counts than our zeros: wait for a report."""
    table.published_at = now


def deadline(table: Load, *, engines_running: bool) -> float | None:
    """When the next publication is due; None before `begin`.

    A front-end marks the engines running for itself when it sends a notice (core_client.py, `add_request_async`), and
    any load overwrites that. Told "not running" while they are still waking, it would send a notice with its next
    request, too, and all engines another START. So a load waits until 50 ms after the last notice, but for notices
    without end no longer than 50 ms in all. As in vLLM a whole step does not wait, unless it would say "not running".
    """
    if table.published_at is None:
        return None
    due = _due(table, table.published_at)
    if table.noticed_at is None or due >= table.noticed_at + SETTLE:
        return due
    if engines_running and table.whole_step is not None:
        return due
    latest = table.published_at + table.interval + SETTLE
    if due >= latest:  # a heartbeat, or the first change after a pause
        latest = due + SETTLE
    return max(due, min(table.noticed_at + SETTLE, latest))


def _due(table: Load, published_at: float) -> float:
    """The same without notices.

    vLLM's loop publishes when nothing has come for so long (`poll` timed out), and with a backlog not at all. Here only
    the reports that are waited for move it.
    """
    if table.changed_at is None:
        return published_at + IDLE_INTERVAL
    due = published_at + table.interval
    if table.lockstep and table.whole_step is None:
        return max(due, table.changed_at + SETTLE)
    return max(due, table.changed_at)


def noticed(table: Load, now: float) -> None:
    """A front-end told of a new request."""
    table.noticed_at = now


def publish(table: Load, now: float) -> tuple[EngineCounts, ...]:
    """The counts to publish now: the last whole step if one is waiting, else the newest."""
    table.published_at = now
    if table.whole_step is not None:  # the changes since then are still to be published: they stay marked as such
        counts, table.whole_step = table.whole_step, None
        return tuple(counts)
    table.changed_at = None
    return tuple(table.counts)


def forget(table: Load, engine: int, now: float) -> bool:
    """Another process takes an engine's place, and begins with nothing; False when nothing was known of the old one."""
    if table.reported_at[engine] is None:
        return False
    waiting, running, _ = table.counts[engine]
    table.total_waiting -= waiting
    table.total_running -= running
    table.counts[engine], table.steps[engine], table.reported_at[engine] = NEVER_REPORTED, _BEFORE_ANY_STEP, None
    table.newest_step = max(table.steps)
    if table.whole_step is not None:
        table.whole_step[engine] = NEVER_REPORTED
    table.restarts[engine] += 1
    if table.changed_at is None:
        table.changed_at = now
    return True


def reported(table: Load) -> bool:
    """Whether any engine ever reported. Asked with each wave message, where a thousand may report nothing."""
    return table.reported_at != [None] * len(table.reported_at)


def last(table: Load, engine: int) -> EngineStatsReported | None:
    """An engine's newest report; None before its first."""
    if table.reported_at[engine] is None:
        return None
    (waiting, running, kv_cache_usage), (wave, step) = table.counts[engine], table.steps[engine]
    return EngineStatsReported(engine, waiting, running, kv_cache_usage, step, wave)


def resize(table: Load, engine_count: int, now: float) -> None:
    """Grow with engines that never reported, or forget the last ones; the new width is a change to publish."""
    _resize(table.counts, engine_count, NEVER_REPORTED)
    _resize(table.steps, engine_count, _BEFORE_ANY_STEP)
    _resize(table.reported_at, engine_count, None)
    _resize(table.restarts, engine_count, 0)
    if table.whole_step is not None:  # front-ends unpack the width that they were told of
        _resize(table.whole_step, engine_count, NEVER_REPORTED)
    table.total_waiting = sum(waiting for waiting, _, _ in table.counts)
    table.total_running = sum(running for _, running, _ in table.counts)
    if table.changed_at is None:
        table.changed_at = now


def _resize(column: list[T], length: int, fill: T) -> None:
    del column[length:]
    column.extend([fill] * (length - len(column)))


def columns(table: Load) -> EngineColumns:
    """The table as columns, None where an engine never reported."""
    counts: Iterable[EngineCounts | tuple[None, None, None]] = table.counts
    steps: Iterable[tuple[int, int] | tuple[None, None]] = table.steps
    if None in table.reported_at:
        counts = [said if at is not None else (None,) * 3 for said, at in zip(counts, table.reported_at, strict=True)]
        steps = [said if at is not None else (None,) * 2 for said, at in zip(steps, table.reported_at, strict=True)]
    waiting, running, kv_cache_usage = zip(*counts, strict=True)
    current_wave, step_counter = zip(*steps, strict=True)
    return EngineColumns(
        waiting=waiting,
        running=running,
        kv_cache_usage=kv_cache_usage,
        step_counter=step_counter,
        current_wave=current_wave,
        reported_at=tuple(table.reported_at),
        restarts=tuple(table.restarts),
    )
