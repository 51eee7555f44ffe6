"""What an operator sets who knows better: the wave, or how many engines there are.

For what strangers' messages have done, and for a coordinator that began anew beside engines that live and do not report
where they are. A wave is set as one that came back would find it in its journal (recovery.py): paused, with START to
all, and once more after the next wave_complete. So it may be set while engines run.
"""

from __future__ import annotations

from collections.abc import Sequence

from dp_coordinator.core import manual, membership, observation, peers
from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.effects import Answer, Effect, LogEvent, PublishWaveState
from dp_coordinator.core.events import CorrectionRequested
from dp_coordinator.core.scaling import MAX_ENGINES
from dp_coordinator.core.snapshot import Correction, RefusalKind, StartRefusal, WaveCause
from dp_coordinator.core.state import CoreState
from dp_coordinator.core.waves import LAST_WAVE
from dp_coordinator.words import Corrected


def request(state: CoreState, dialect: Dialect, event: CorrectionRequested, now: float) -> Sequence[Effect]:
    """Set it, or say why not."""
    wave = event.corrected is Corrected.WAVE
    refused = _wave_refused(state, event) if wave else _engine_count_refused(state, event)
    fields: dict[str, object] = {"reason": event.reason, "caller": event.caller}
    if refused is not None:
        why = {"refusal": refused[0].value, "detail": refused[1], **fields}
        return (
            Answer(StartRefusal(*refused, state.waves.current_wave)),
            LogEvent("correction_refused", {"corrected": event.corrected.value, **why}),
        )
    before = state.waves.current_wave if wave else state.engine_count
    made = Answer(Correction(event.corrected, before, event.value))
    changed = {"before": before, "after": event.value, **fields}
    if wave:
        return (made, LogEvent("wave_set", changed), *_set_wave(state, event.value, now))
    return (made, LogEvent("engine_count_set", changed), *membership.resize(state, dialect, event.value, now))


def _set_wave(state: CoreState, wave: int, now: float) -> Sequence[Effect]:
    state.waves.current_wave, state.waves.engines_running = wave, False
    state.held.clear()  # that was before
    state.start_again = WaveCause.MANUAL
    asked = observation.ask(state, wave, now, cause=WaveCause.MANUAL)
    return (*asked, PublishWaveState(wave, engines_running=False))


def _wave_refused(state: CoreState, event: CorrectionRequested) -> tuple[RefusalKind, str] | None:
    current = state.waves.current_wave
    blocked = manual.blocked(state, peers.view(state))
    if blocked is not None and blocked[0] is not RefusalKind.RUNNING:
        return blocked
    if event.expected != current:
        detail = f"the current wave is {current}, not {event.expected}; look again and decide anew"
        return RefusalKind.WAVE_MISMATCH, detail
    if not 0 <= event.value < LAST_WAVE:
        return RefusalKind.WAVE_INVALID, f"wave must be 0 to {LAST_WAVE - 1}, not {event.value}"
    return None


def _engine_count_refused(state: CoreState, event: CorrectionRequested) -> tuple[RefusalKind, str] | None:
    count = state.engine_count
    if event.expected != count:
        detail = f"the engine count is {count}, not {event.expected}; look again and decide anew"
        return RefusalKind.COUNT_MISMATCH, detail
    if not 1 <= event.value <= MAX_ENGINES:
        return RefusalKind.COUNT_INVALID, f"there can be 1 to {MAX_ENGINES} engines, not {event.value}"
    return None
