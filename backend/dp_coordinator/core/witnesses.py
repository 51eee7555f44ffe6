"""Which wave messages are believed: those near a wave that is known, and those that have a second witness.

Any peer can send one that names any wave, and chance bytes can read as one. A wave taken from it is for good: engines
and front-ends follow, and none goes back. Honest engines are ahead of us by as many waves as messages of theirs were
lost, or are still on their way. So one that is further ahead waits, until

- we get near it by the messages between,
- another rank says the same, by a wave message or a report of load, or
- its own rank does so again: by a report, which every engine sends before it waits in a step (vllm/v1/engine/core.py,
  `_maybe_publish_request_counts`, since 0.21), or by a wave message at least a second later.

That is how one that began anew beside engines that live finds their wave. The newest message of each rank is what
waits: what a rank says later holds for what it said before.
"""

from __future__ import annotations

from collections.abc import Sequence

from dp_coordinator.core import scaling
from dp_coordinator.core.effects import Reject
from dp_coordinator.core.events import EngineStatsReported, WaveMessage
from dp_coordinator.core.state import CoreState, WaveSaid
from dp_coordinator.core.waves import LAST_WAVE

WINDOW = 8
"""Waves that one message alone may be ahead."""
AGAIN_AFTER = 1.0
"""Seconds after which the same rank counts as another witness."""


def source(said: WaveSaid) -> tuple[bool, int | None]:
    """Of whom the newest is kept: a rank as engine, and as what front-ends tell of it."""
    return said.message is WaveMessage.NEW_REQUEST, said.engine_index


def hold(state: CoreState, said: WaveSaid) -> None:
    """Keep a message until it can be taken, instead of what its rank said before."""
    before = state.held.pop(source(said), None)
    if before is not None and _near(before, said):
        # Who repeats it twice a second says it for the second time after a second.
        said = said._replace(at=before.at, seconded=before.seconded)
    state.held[source(said)] = said


def refusal(state: CoreState, said: WaveSaid) -> Reject | None:
    """Why a message can never be taken; None when it can."""
    engine = said.engine_index
    if said.message is WaveMessage.NEW_REQUEST:
        return None
    if engine is None or not scaling.belongs(state, engine, said.at):
        return Reject("index_out_of_range", f"{_quoted(said)}, but engines are 0 to {state.engine_count - 1}")
    if not 0 <= said.wave < LAST_WAVE:
        return Reject("wave_out_of_range", f"{_quoted(said)}, but waves end at {LAST_WAVE - 1}")
    return None


def doubt(state: CoreState, said: WaveSaid) -> Reject:
    """For the record: why a message waits."""
    detail = f"{_quoted(said)}, but the current wave is {state.waves.current_wave}: it waits until a second one says so"
    return Reject("wave_far_ahead", detail)


def second(state: CoreState, reports: Sequence[EngineStatsReported]) -> None:
    """Reports came after what is held: each is another witness for what its own rank said."""
    for report in reports:
        said = state.held.get((False, report.engine_index))
        if said is not None and abs(report.current_wave - said.wave) <= WINDOW:
            state.held[source(said)] = said._replace(seconded=True)


def believed(state: CoreState, said: WaveSaid) -> bool:
    """Whether a message may move the wave now."""
    if said.message is WaveMessage.NEW_REQUEST or said.wave <= state.waves.current_wave + WINDOW:
        return True
    return (
        said.seconded
        or _reported(state, said)
        or any(
            _near(other, said) and (other.engine_index != said.engine_index or said.at - other.at >= AGAIN_AFTER)
            for other in state.held.values()
        )
    )


def _reported(state: CoreState, said: WaveSaid) -> bool:
    """Whether some rank's newest report is of about that wave."""
    table = state.load
    if table.newest_step[0] + WINDOW < said.wave:  # mostly so, and each costs no more than this then
        return False
    for rank, (wave, _) in enumerate(table.steps):
        # Of its own rank the report may have been in the same message, and is no other witness then.
        if abs(wave - said.wave) <= WINDOW and (rank != said.engine_index or _before(table.reported_at[rank], said)):
            return True
    return False


def _before(reported_at: float | None, said: WaveSaid) -> bool:
    return reported_at is not None and reported_at < said.at


def _near(one: WaveSaid, other: WaveSaid) -> bool:
    return WaveMessage.NEW_REQUEST not in (one.message, other.message) and abs(one.wave - other.wave) <= WINDOW


def _quoted(said: WaveSaid) -> str:
    return f"engine {said.engine_index} says {said.message.value}({said.wave})"
