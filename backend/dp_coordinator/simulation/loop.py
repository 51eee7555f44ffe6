"""The busy loop of a data-parallel engine, without sockets, clock or threads.

Source: vllm/v1/engine/core.py, `DPEngineCoreProc.run_busy_loop`, vLLM 0.10.2 to 0.33.0. The host's duties, in order:

1. hand over all input that has come since the last step: `request` and `start` for each message, between `open_turn`
   and `close_turn`; send what these return;
2. call `begin_step`. None means: nothing to do, wait for input. Otherwise contribute it to the collective, wait for the
   outcome, let the step's time pass, and send what `end_step` returns;
3. an outcome that comes while this engine is not in a step goes to `catch_up`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from dp_coordinator.client import StartWave
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.simulation.collective import AllReduceResult, Contribution
from dp_coordinator.simulation.scheduler import Job, Scheduler

SYNC_INTERVAL = 32
"""Ranks ask each other "any unfinished?" at every 32nd step of a wave."""


@dataclass(frozen=True, slots=True)
class ReportStats:
    """Tell the coordinator the request counts."""

    waiting: int
    running: int
    kv_cache_usage: float
    step_counter: int
    current_wave: int


@dataclass(frozen=True, slots=True)
class SendWaveComplete:
    """Tell the coordinator that the wave is over."""

    wave: int


@dataclass(frozen=True, slots=True)
class SendStartWave:
    """Tell the coordinator that this engine runs the wave and the others must join."""

    wave: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Answer a request."""

    job: Job


Effect: TypeAlias = ReportStats | SendWaveComplete | SendStartWave | Finish


class EngineLoop:
    """One engine's wave state and requests."""

    def __init__(self, rank: int, dialect: Dialect, scheduler: Scheduler) -> None:
        self._rank = rank
        # 0.33: a request that meets a paused engine makes it report start_wave; before, only one of an earlier wave.
        self._every_first_request_starts_wave = not dialect.notices_accepted
        # 0.29: rank 0 reports start_wave after the first step of a wave.
        self._rank_0_reports_idle_to_running = not dialect.notice_sets_running
        # 0.32: the ranks ask each other after the first step of a wave too.
        self._sync_after_first_step = dialect.outputs_carry_weight_version
        self._scheduler = scheduler
        self._reported = (0, 0)
        self._was_running = False
        self.wave = 0
        self.step_counter = 0
        self.running = False
        """Whether the engine steps even without requests of its own."""

    @property
    def unfinished(self) -> int:
        """How many requests wait or run."""
        return sum(self._scheduler.counts)

    def open_turn(self) -> None:
        """Begin to take input."""
        self._was_running = self.running

    def request(self, job: Job, wave: int) -> list[Effect]:
        """Take a request that a front-end stamped with the wave it knew."""
        self._scheduler.add(job)
        stale = wave < self.wave
        self.wave = max(self.wave, wave)
        if self.running or not (stale or self._every_first_request_starts_wave):
            return []
        self.running = True
        return [SendStartWave(self.wave)]

    def start(self, start: StartWave) -> None:
        """Take a START_DP_WAVE."""
        if start.wakes(self._rank, self.wave):
            self.wave = start.wave
            self.running = True

    def close_turn(self) -> list[Effect]:
        """End taking input: report the counts if they changed."""
        return self._report_changes()

    def begin_step(self) -> Contribution | None:
        """Begin a step: a real one, a dummy one when only others have requests, or none at all (None)."""
        if not self._scheduler.unfinished and not self.running:
            return None
        self._scheduler.admit()
        return Contribution(self._scheduler.unfinished_after_step(), self.wave, self.step_counter + 1)

    def end_step(self, outcome: AllReduceResult) -> list[Effect]:
        """End the step that the collective has let begin."""
        effects: list[Effect] = [Finish(job) for job in self._scheduler.step()]
        effects += self._report_changes()
        if outcome.step != self.step_counter + 1:
            # Came back in the middle of a wave. Otherwise a rank counts its own waves, right or wrong.
            self.wave = outcome.wave
        self.step_counter = outcome.step
        self.running = not self._ends_wave(outcome)
        if not self.running:
            if self._rank == 0:
                effects.append(SendWaveComplete(self.wave))
            self._next_wave()
            if self._scheduler.unfinished:
                # Never so in a real deployment: this rank came back in the middle of a wave, and the others ended it
                # before they knew of its requests.
                self.running = True
                effects.append(SendStartWave(self.wave))
        elif not self._was_running and self._rank == 0 and self._rank_0_reports_idle_to_running:
            effects.append(SendStartWave(self.wave))
        return effects

    def catch_up(self, outcome: AllReduceResult) -> list[Effect]:
        """Learn of a step in which this rank took no part: of the present wave, or the last one of an earlier wave."""
        self.wave, self.step_counter = outcome.wave, outcome.step
        self.running = not self._ends_wave(outcome)
        if self.running:
            return []
        self._next_wave()
        # Perhaps nobody said so, because this rank was dead; saying it twice does no harm.
        return [SendWaveComplete(outcome.wave)] if self._rank == 0 else []

    def come_back(self) -> list[Effect]:
        """Report that nothing is left of an earlier process of this rank. Call it first: at wave 0, step 0."""
        return [ReportStats(0, 0, 0.0, self.step_counter, self.wave)]

    def _next_wave(self) -> None:
        self.wave += 1
        self.step_counter = 0

    def _ends_wave(self, outcome: AllReduceResult) -> bool:
        asked = outcome.step % SYNC_INTERVAL == 0 or (outcome.step == 1 and self._sync_after_first_step)
        return asked and not outcome.unfinished

    def _report_changes(self) -> list[Effect]:
        """Counts go out only when they changed, with the step counter as it stood before the step."""
        counts = self._scheduler.counts
        if counts == self._reported:
            return []
        self._reported = counts
        return [ReportStats(*counts, self._scheduler.kv_cache_usage, self.step_counter, self.wave)]
