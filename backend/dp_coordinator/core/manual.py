"""Waves started by hand: what is accepted, what is refused and why, and what was observed afterwards.

A manual start only broadcasts START; it never sets engines_running. A paused engine discards START, and front-ends that
were told "running" would not notify of their requests any more: the flag would stick and requests would hang.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dp_coordinator.core import load, observation, peers
from dp_coordinator.core.effects import Answer, Effect, LogEvent
from dp_coordinator.core.events import ManualStartRequested
from dp_coordinator.core.observation import Evidence
from dp_coordinator.core.snapshot import (
    ActionState,
    PeersView,
    RecoveryPhase,
    RefusalKind,
    StartAction,
    StartRefusal,
    WaveCause,
)
from dp_coordinator.core.state import CoreState, ManualStarts, PendingStart
from dp_coordinator.core.waves import LAST_WAVE

ACTIONS_KEPT = 256
NAMED = 8


def request(state: CoreState, event: ManualStartRequested, now: float) -> Sequence[Effect]:
    """Start a wave by hand, or say why not."""
    answer = _repeated(state, event) or _refusal(state, event)
    if isinstance(answer, StartAction):
        return (Answer(answer),)
    if answer is not None:
        fields: dict[str, object] = {"refusal": answer.kind.value, "detail": answer.detail}
        fields |= {"reason": event.reason, "caller": event.caller}
        return (Answer(answer), LogEvent("manual_start_refused", fields))
    wave = state.waves.current_wave if event.wave is None else event.wave
    action = _begin(state, event, wave, now)
    asked: dict[str, object] = {"action": action.id, "wave": wave, "reason": event.reason, "caller": event.caller}
    start = observation.ask(state, wave, now, cause=WaveCause.MANUAL)
    return (Answer(action), LogEvent("manual_start_asked", asked), *start)


# -- what is refused ---------------------------------------------------------------------------------------------------


def blocked(state: CoreState, there: PeersView) -> tuple[RefusalKind, str] | None:
    """Why any manual start would be refused now; None when one would be accepted.

    Who is there is told, for it is asked with each snapshot, and changes seldom.
    """
    if not state.wave_coordination:
        return RefusalKind.COORDINATION_OFF, "wave coordination is off: these engines do not step together"
    subscribed = f"{there.engines} of {state.engine_count} engines have subscribed"
    if not state.ready:  # an engine's first message must be READY
        return RefusalKind.NOT_READY, f"{subscribed}; a wave can start once all have"
    if state.recovery is not None and state.recovery.phase is RecoveryPhase.REJOINING:
        # It would reach some of the engines only, and wake them into a step that the others never join.
        return RefusalKind.NOT_READY, f"{subscribed} again after the restart; START goes out by itself once all have"
    # While START is owed (recovery.py, `mend`) the end of the wave may have been lost with a connection.
    if state.waves.engines_running and not state.start_again:
        return RefusalKind.RUNNING, f"wave {state.waves.current_wave} is running already"
    if state.manual.pending is not None:
        return RefusalKind.PENDING, "another manual start is still being watched; wait for its outcome"
    return _engines_missing(state, there)


def _engines_missing(state: CoreState, there: PeersView) -> tuple[RefusalKind, str] | None:
    """Those that are there would wait in their first step for those that are not (vllm/v1/engine/core.py)."""
    named, missing = there.gone, there.missing
    if not missing:
        return None
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    who = f" (rank{'s' * (len(named) > 1)} {', '.join(map(str, [*named][:NAMED]))}{more})" if named else ""
    are = f"{missing} of {state.engine_count} engines {'is' if missing == 1 else 'are'}"
    return RefusalKind.NOT_READY, f"{are} gone{who}; a wave needs all of them"


def _repeated(state: CoreState, event: ManualStartRequested) -> StartAction | StartRefusal | None:
    """What an earlier request with the same idempotency key made, if there was one and it is still held."""
    starts, key = state.manual, event.idempotency_key
    if key is None or key not in starts.by_key:
        return None
    earlier, action_id = starts.by_key[key]
    asked, asked_before = (
        (r.reason, r.expected_wave, r.wave)  # the caller may differ: a retry can come through another address
        for r in (event, earlier)
    )
    if asked != asked_before:
        detail = "this Idempotency-Key was used for another request; use a new key for a new start"
        return StartRefusal(RefusalKind.KEY_REUSED, detail, state.waves.current_wave)
    if starts.pending is not None and starts.pending.action_id == action_id:
        return _view(starts.pending, ActionState.ASKED, None)
    return starts.finished.get(action_id)


def _refusal(state: CoreState, event: ManualStartRequested) -> StartRefusal | None:
    current = state.waves.current_wave
    if (why := blocked(state, peers.view(state))) is not None:
        return StartRefusal(*why, current)
    if event.expected_wave is not None and event.expected_wave != current:
        detail = f"the current wave is {current}, not {event.expected_wave}; look again and decide anew"
        return StartRefusal(RefusalKind.WAVE_MISMATCH, detail, current)
    if event.wave is not None and (event.wave not in (current, current + 1) or event.wave >= LAST_WAVE):
        # The next one frees a request that a crash has stranded (recovery.py); beyond it the engines would drift apart.
        detail = f"wave must be {current} (the current one) or {current + 1} (the next), not {event.wave}"
        return StartRefusal(RefusalKind.WAVE_INVALID, detail, current)
    return None


# -- what is watched ---------------------------------------------------------------------------------------------------


def saw(starts: ManualStarts, seen: Evidence, now: float) -> StartAction | None:
    """Take up evidence of a wave; returns the action when that confirms it."""
    pending = starts.pending
    if pending is None or seen.wave < pending.wave:
        return None
    if seen.rank is not None and seen.rank < pending.engine_count:
        pending.joined.setdefault(seen.rank, now)
    pending.confirmed_by = seen.confirmed_by
    return None if seen.confirmed_by is None else _finish(starts, pending, ActionState.OBSERVED, now)


def deadline(starts: ManualStarts) -> float | None:
    """When the start being watched times out."""
    return None if starts.pending is None else starts.pending.asked_at + starts.timeout


def time_out(state: CoreState, now: float) -> StartAction | None:
    """Give up on the start being watched if its time is over.

    A rank that joined may be about to step with all others, for which there is no report before its counts change; and
    behind external load balancing there is none at all.
    """
    starts = state.manual
    due, pending = deadline(starts), starts.pending
    if pending is None or due is None or now < due:
        return None
    silent = not load.reported(state.load)
    outcome = ActionState.CANNOT_TELL if pending.joined or silent else ActionState.TIMED_OUT
    return _finish(starts, pending, outcome, now)


def records(starts: ManualStarts) -> tuple[StartAction, ...]:
    """All actions held, oldest first."""
    finished = tuple(starts.finished.values())
    return finished if starts.pending is None else (*finished, _view(starts.pending, ActionState.ASKED, None))


def _begin(state: CoreState, event: ManualStartRequested, wave: int, now: float) -> StartAction:
    starts = state.manual
    starts.made += 1
    starts.pending = PendingStart(f"{starts.id_prefix}-{starts.made}", event, wave, state.engine_count, now)
    if event.idempotency_key is not None:
        starts.by_key[event.idempotency_key] = (event, starts.pending.action_id)
        _keep_newest(starts.by_key)
    return _view(starts.pending, ActionState.ASKED, None)


def _finish(starts: ManualStarts, pending: PendingStart, state: ActionState, now: float) -> StartAction:
    action = _view(pending, state, now)
    starts.pending = None
    starts.finished[action.id] = action
    _keep_newest(starts.finished)
    return action


def _keep_newest(held: dict[str, Any]) -> None:
    while len(held) > ACTIONS_KEPT:
        del held[next(iter(held))]


def _view(pending: PendingStart, state: ActionState, finished_at: float | None) -> StartAction:
    return StartAction(
        id=pending.action_id,
        wave=pending.wave,
        reason=pending.request.reason,
        caller=pending.request.caller,
        state=state,
        asked_at=pending.asked_at,
        engine_count=pending.engine_count,
        joined=tuple((rank, at - pending.asked_at) for rank, at in pending.joined.items()),
        confirmed_by=pending.confirmed_by,
        finished_at=finished_at,
        idempotency_key=pending.request.idempotency_key,
    )
