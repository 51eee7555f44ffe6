"""What was asked of the engines and what was seen of them, wave by wave. Kept apart, because neither implies the other.

Evidence that a rank steps in a wave:
- its own report stamped with that wave, with a step behind it or a request running;
- its own start_wave for that wave;
- any rank's report with a step behind it, and wave_complete: a step and the all-reduce that ends a wave are
  collective, so one rank that got past them proves it for all (vllm/v1/engine/core.py, `DPEngineCoreProc`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from dp_coordinator.core.load import LoadTable
from dp_coordinator.core.snapshot import Phase, Wave, WaveCause

WAVES_KEPT = 512
UNANSWERED_AFTER = 10.0
"""Seconds after which a START that nobody was seen to follow counts as unanswered."""


@dataclass(slots=True)
class OpenWave:
    """The wave that was asked for or runs now."""

    number: int
    cause: WaveCause
    cause_engine: int | None
    asked_at: float | None = None
    started_at: float | None = None
    stepping: dict[int, float] = field(default_factory=dict)
    """Rank -> when it was first seen stepping."""
    all_seen: bool = False


class WaveLog:
    """The open wave, the ones before it, and the phase that follows from them."""

    def __init__(self, now: float, load: LoadTable) -> None:
        """`load` tells the peaks."""
        self._load = load
        self.open: OpenWave | None = None
        self._closed: deque[Wave] = deque(maxlen=WAVES_KEPT)
        self._closed_tuple: tuple[Wave, ...] = ()
        self._asked_again_at: float | None = None
        self.phase = Phase.PAUSED
        self.phase_since = now

    def asked(self, number: int, cause: WaveCause, engine: int | None, now: float) -> bool:
        """START was broadcast for a wave. True when that opened it, False when it was open already."""
        opened = self._ensure(number, cause, engine, now)
        wave = self.open
        if wave is not None and wave.asked_at is None:
            wave.asked_at = now
        self._asked_again_at = now
        self._update_phase(now)
        return opened

    def started(self, number: int, cause: WaveCause, engine: int | None, now: float) -> None:
        """engines_running was set for a wave."""
        self._ensure(number, cause, engine, now)
        if self.open is not None and self.open.started_at is None:
            self.open.started_at = now
        self._update_phase(now)

    def saw_stepping(self, ranks: range | tuple[int, ...], engine_count: int, now: float) -> None:
        """Ranks, of `engine_count` in all, were seen stepping in the open wave."""
        if self.open is not None:
            for rank in ranks:
                self.open.stepping.setdefault(rank, now)
            self.open.all_seen = len(self.open.stepping) >= engine_count
            self._update_phase(now)

    def completed(self, number: int, now: float) -> Wave:
        """wave_complete was accepted for a wave; returns its record."""
        if self.open is not None and self.open.number != number:
            self._close(now, completed=False)
        if self.open is None:
            self._ensure(number, WaveCause.UNKNOWN, None, now)
        return self._close(now, completed=True)

    def completed_late(self, number: int) -> Wave | None:
        """wave_complete for a wave that a later one had overtaken: channels of different engines have no order.

        Returns its record, which ends where the later wave began; None when that wave was not the one overtaken.
        """
        if not self._closed or self._closed[-1].number != number or self._closed[-1].completed:
            return None
        self._closed[-1] = replace(self._closed[-1], completed=True)
        self._closed_tuple = tuple(self._closed)
        return self._closed[-1]

    def stopped(self, now: float) -> None:
        """engines_running was dropped without wave_complete (growth before vLLM 0.18), or nobody answered a START."""
        if self.open is not None:
            self._close(now, completed=False)

    def unanswered_deadline(self) -> float | None:
        """When the open wave counts as unanswered: asked for, not announced as running, no rank seen."""
        wave = self.open
        if wave is None or self._asked_again_at is None or wave.started_at is not None or wave.stepping:
            return None
        return self._asked_again_at + UNANSWERED_AFTER

    @property
    def asked_at(self) -> float | None:
        """When START was first broadcast for the open wave."""
        return self.open.asked_at if self.open is not None else None

    @property
    def stepping(self) -> tuple[int, ...]:
        """Ranks seen stepping in the open wave, ascending."""
        return tuple(sorted(self.open.stepping)) if self.open is not None else ()

    def records(self) -> tuple[Wave, ...]:
        """All waves held, oldest first, the open one last."""
        if self.open is None:
            return self._closed_tuple
        return (*self._closed_tuple, self._record(self.open, None, completed=False))

    def _ensure(self, number: int, cause: WaveCause, engine: int | None, now: float) -> bool:
        if self.open is not None:
            if self.open.number == number:
                return False
            self._close(now, completed=False)
        self.open = OpenWave(number, cause, engine)
        self._load.restart_peaks()
        return True

    def _record(self, wave: OpenWave, ended_at: float | None, *, completed: bool) -> Wave:
        return Wave(
            number=wave.number,
            cause=wave.cause,
            cause_engine=wave.cause_engine,
            asked_at=wave.asked_at,
            started_at=wave.started_at,
            ended_at=ended_at,
            completed=completed,
            peak_waiting=self._load.peak_waiting,
            peak_running=self._load.peak_running,
        )

    def _close(self, now: float, *, completed: bool) -> Wave:
        assert self.open is not None
        record = self._record(self.open, now, completed=completed)
        self._closed.append(record)
        self._closed_tuple = tuple(self._closed)
        self.open, self._asked_again_at = None, None
        self._update_phase(now)
        return record

    def _update_phase(self, now: float) -> None:
        wave = self.open
        if wave is None:
            phase = Phase.PAUSED
        elif wave.all_seen or (wave.stepping and wave.started_at is not None):
            phase = Phase.RUNNING
        else:
            phase = Phase.STARTING
        if phase is not self.phase:
            self.phase, self.phase_since = phase, now
