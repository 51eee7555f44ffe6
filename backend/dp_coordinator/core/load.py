"""Per-engine load: the newest counts, whole-step snapshots of them, and when to publish.

Engines of a mixture-of-experts model step in lockstep, and each reports by itself. Counts taken in the middle of a step
mix two moments and make a balancer oscillate; so when a report opens a later (wave, step) than any seen, the counts as
they stood are kept as the last whole step, and that is what the next publication says.
Source: vllm/v1/engine/coordinator.py, `process_input_socket`, vLLM 0.10.2 to 0.33.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

from dp_coordinator.core.effects import EngineCounts
from dp_coordinator.core.events import EngineStatsReported
from dp_coordinator.core.snapshot import EngineColumns

T = TypeVar("T")

Notable: TypeAlias = tuple[EngineStatsReported, "tuple[int, int] | None"]
"""A first report (None), or one that goes back behind the (wave, step) its engine had before.

An engine's channel is FIFO, so one that goes back has restarted.
"""
NEVER_REPORTED: EngineCounts = (0, 0, 0.0)
IDLE_INTERVAL = 5.0
"""Seconds between publications while nothing changes (vLLM 0.10.2 on)."""
SETTLE = 0.05
"""Seconds that a first change waits for the other engines' reports of its step (vLLM 0.10.2 on)."""

_BEFORE_ANY_STEP = (-1, -1)


class LoadTable:
    """What each engine last said, and what of it front-ends have not heard yet."""

    def __init__(self, engine_count: int, *, lockstep: bool, interval: float) -> None:
        """`lockstep`: wave coordination is on. `interval`: least seconds between publications of changes."""
        self._lockstep = lockstep
        self._interval = interval
        self.counts: list[EngineCounts] = [NEVER_REPORTED] * engine_count
        self.steps: list[tuple[int, int]] = [_BEFORE_ANY_STEP] * engine_count
        """(wave, step) of each engine's newest report."""
        self.reported_at: list[float | None] = [None] * engine_count
        self.restarts: list[int] = [0] * engine_count
        self.total_waiting = 0
        self.total_running = 0
        self.peak_waiting = 0
        self.peak_running = 0
        """Highest totals since `restart_peaks`."""
        self._newest_step = _BEFORE_ANY_STEP
        self._whole_step: list[EngineCounts] | None = None
        self._changed_at: float | None = None
        self._published_at: float | None = None
        self._columns: EngineColumns | None = None

    def take(self, reports: Sequence[EngineStatsReported], now: float) -> list[Notable]:
        """Take reports of engines that exist, in order; returns those that are more than a change of load.

        The hot path: everything is in locals, and nothing is called per report.
        """
        counts, steps, reported_at, lockstep = self.counts, self.steps, self.reported_at, self._lockstep
        newest, changed = self._newest_step, self._changed_at is not None
        waiting, running = self.total_waiting, self.total_running
        peak_waiting, peak_running = self.peak_waiting, self.peak_running
        notable: list[Notable] = []
        for report in reports:
            index = report.engine_index
            step = (report.current_wave, report.step_counter)
            before = steps[index]
            if step > newest:
                if changed and lockstep:
                    self._whole_step = counts.copy()
                newest = step
            steps[index] = step
            if step < before:
                notable.append((report, before))
                self.restarts[index] += 1
                newest = max(steps)
            elif reported_at[index] is None:
                notable.append((report, None))
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
        self._columns = None
        self._newest_step = newest
        self.total_waiting, self.total_running = waiting, running
        self.peak_waiting, self.peak_running = peak_waiting, peak_running
        if self._changed_at is None:
            self._changed_at = now
        return notable

    def restart_peaks(self) -> None:
        """Peaks count anew from here: a wave begins."""
        self.peak_waiting, self.peak_running = self.total_waiting, self.total_running

    def begin(self, now: float) -> None:
        """Publications begin: the first is due at once, or after the reports of one step had time to come in."""
        self._published_at = now - IDLE_INTERVAL + (SETTLE if self._lockstep else 0.0)

    def resume(self, now: float) -> None:
        """Publications go on after a crash. Front-ends know better counts than our zeros: wait for a report."""
        self._published_at = now

    def deadline(self) -> float | None:
        """When the next publication is due; None before `begin`."""
        if self._published_at is None:
            return None
        if self._changed_at is None:
            return self._published_at + IDLE_INTERVAL
        due = self._published_at + self._interval
        if self._lockstep and self._whole_step is None:
            return max(due, self._changed_at + SETTLE)
        return max(due, self._changed_at)

    def publish(self, now: float) -> tuple[EngineCounts, ...]:
        """The counts to publish now: the last whole step if one is waiting, else the newest."""
        self._published_at = now
        if self._whole_step is not None:
            counts, self._whole_step = self._whole_step, None
            return tuple(counts)
        self._changed_at = None
        return tuple(self.counts)

    def resize(self, engine_count: int, now: float) -> None:
        """Grow with engines that never reported, or forget the last ones; the new width is a change to publish."""
        self._columns = None
        _resize(self.counts, engine_count, NEVER_REPORTED)
        _resize(self.steps, engine_count, _BEFORE_ANY_STEP)
        _resize(self.reported_at, engine_count, None)
        _resize(self.restarts, engine_count, 0)
        if self._whole_step is not None:
            _resize(self._whole_step, engine_count, NEVER_REPORTED)
        self.total_waiting = sum(waiting for waiting, _, _ in self.counts)
        self.total_running = sum(running for _, running, _ in self.counts)
        if self._changed_at is None:
            self._changed_at = now

    def columns(self) -> EngineColumns:
        """The table as columns, None where an engine never reported: the same object until something is reported."""
        if self._columns is None:
            self._columns = self._as_columns()
        return self._columns

    def _as_columns(self) -> EngineColumns:
        known = [at is not None for at in self.reported_at]
        return EngineColumns(
            waiting=tuple([c[0] if k else None for c, k in zip(self.counts, known, strict=True)]),
            running=tuple([c[1] if k else None for c, k in zip(self.counts, known, strict=True)]),
            kv_cache_usage=tuple([c[2] if k else None for c, k in zip(self.counts, known, strict=True)]),
            step_counter=tuple([s[1] if k else None for s, k in zip(self.steps, known, strict=True)]),
            current_wave=tuple([s[0] if k else None for s, k in zip(self.steps, known, strict=True)]),
            reported_at=tuple(self.reported_at),
            restarts=tuple(self.restarts),
        )

    def anything_reported(self) -> bool:
        """Whether any engine has ever reported."""
        return any(at is not None for at in self.reported_at)


def _resize(column: list[T], length: int, fill: T) -> None:
    del column[length:]
    column.extend([fill] * (length - len(column)))
