"""Coming back after a crash without losing a wake-up.

Messages that were inside the dead process are lost: perhaps a new-request notice, perhaps a START, perhaps a
wave_complete. An exhaustive search over engines, front-ends and channels found this rule safe for any single lost
inbound message and any lost outbound ones (tests/core/test_recovery_search.py repeats it on this code):

1. `current_wave` is journalled before a change of it is announced.
2. Come back with the journalled wave, paused. Before vLLM 0.18 engines are sent no READY again: a second one kills
   their input thread (vllm/v1/engine/core.py, `process_input_sockets`). From 0.18 on they ignore it, and every
   subscriber is sent one, as always: the dead process may have taken the first along.
3. When all engines have subscribed again, broadcast START(current_wave) to all, and stay paused.
4. When the first wave_complete after that is accepted, broadcast START(the new wave) to all once more.

The wave is never raised to be safe: the engines' own waves would drift apart, and a request be stranded.
"""

from __future__ import annotations

from dataclasses import dataclass

from dp_coordinator.core.snapshot import RecoveryPhase, RecoveryState


@dataclass(frozen=True, slots=True)
class Remembered:
    """What must outlive the process."""

    current_wave: int
    engine_count: int
    ready: bool
    """READY was sent, or was about to be: before vLLM 0.18 it must never be sent again."""


class Recovery:
    """Where a coordinator that came back stands in the rule."""

    def __init__(self, remembered: Remembered, now: float) -> None:
        self._resumed_wave = remembered.current_wave
        self._resumed_at = now
        self._finished_at: float | None = None
        self.phase = RecoveryPhase.REJOINING

    def rejoined(self, *, start_follows: bool, now: float) -> None:
        """All engines are back. Without wave coordination there is nothing to start, and this is the end."""
        self.phase = RecoveryPhase.SETTLING
        if not start_follows:
            self.finished(now)

    def finished(self, now: float) -> float:
        """Everything is as if nothing had happened; returns how long it took, in seconds."""
        self.phase, self._finished_at = RecoveryPhase.DONE, now
        return now - self._resumed_at

    def state(self, engines_back: int, engines_expected: int) -> RecoveryState:
        """The same for viewers."""
        return RecoveryState(
            phase=self.phase,
            resumed_wave=self._resumed_wave,
            resumed_at=self._resumed_at,
            engines_back=engines_back,
            engines_expected=engines_expected,
            finished_at=self._finished_at,
        )
