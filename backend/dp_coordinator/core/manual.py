"""Waves started by hand: what is accepted, and what was observed afterwards.

A manual start only broadcasts START; it never sets engines_running. A paused engine discards START, and front-ends that
were told "running" would not notify of their requests any more: the flag would stick and requests would hang.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from dp_coordinator.core.events import ManualStartRequested
from dp_coordinator.core.snapshot import ActionState, RefusalKind, StartAction, StartRefusal

ACTIONS_KEPT = 256


@dataclass(slots=True)
class _Pending:
    action_id: str
    request: ManualStartRequested
    wave: int
    engine_count: int
    asked_at: float
    seen: dict[int, float] = field(default_factory=dict)
    collective: bool = False

    def view(self, state: ActionState, finished_at: float | None) -> StartAction:
        return StartAction(
            id=self.action_id,
            wave=self.wave,
            reason=self.request.reason,
            caller=self.request.caller,
            state=state,
            asked_at=self.asked_at,
            engine_count=self.engine_count,
            seen=tuple((rank, at - self.asked_at) for rank, at in self.seen.items()),
            collective=self.collective,
            finished_at=finished_at,
            idempotency_key=self.request.idempotency_key,
        )


class ManualStarts:
    """The manual start that is being watched, and the ones before it."""

    def __init__(self, *, timeout: float, id_prefix: str) -> None:
        self._timeout = timeout
        self._id_prefix = id_prefix
        self._made = 0
        self._pending: _Pending | None = None
        self._finished: OrderedDict[str, StartAction] = OrderedDict()
        self._by_key: OrderedDict[str, tuple[ManualStartRequested, str]] = OrderedDict()

    @property
    def pending(self) -> bool:
        """Whether a start is still being watched."""
        return self._pending is not None

    def repeat_of(self, request: ManualStartRequested, current_wave: int) -> StartAction | StartRefusal | None:
        """The action an earlier request with the same idempotency key made, if there was one."""
        key = request.idempotency_key
        if key is None or key not in self._by_key:
            return None
        earlier, action_id = self._by_key[key]
        asked, asked_before = (
            (r.reason, r.expected_wave, r.wave)  # the caller may differ: a retry can come through another address
            for r in (request, earlier)
        )
        if asked != asked_before:
            detail = "this Idempotency-Key was used for another request; use a new key for a new start"
            return StartRefusal(RefusalKind.KEY_REUSED, detail, current_wave)
        return self.find(action_id)

    def find(self, action_id: str) -> StartAction | None:
        """An action by its id, if it is still held."""
        if self._pending is not None and self._pending.action_id == action_id:
            return self._pending.view(ActionState.ASKED, None)
        return self._finished.get(action_id)

    def begin(self, request: ManualStartRequested, wave: int, engine_count: int, now: float) -> StartAction:
        """Accept a start and watch it."""
        self._made += 1
        action_id = f"{self._id_prefix}-{self._made}"
        self._pending = _Pending(action_id, request, wave, engine_count, now)
        if request.idempotency_key is not None:
            self._by_key[request.idempotency_key] = (request, action_id)
            while len(self._by_key) > ACTIONS_KEPT:
                self._by_key.popitem(last=False)
        return self._pending.view(ActionState.ASKED, None)

    def saw_stepping(
        self, ranks: range | tuple[int, ...], wave: int, now: float, *, collective: bool
    ) -> StartAction | None:
        """Ranks were seen stepping in a wave; returns the action when that was the last one awaited."""
        pending = self._pending
        if pending is None or wave < pending.wave:
            return None
        for rank in ranks:
            if rank < pending.engine_count:
                pending.seen.setdefault(rank, now)
        pending.collective = pending.collective or collective
        return self._finish(ActionState.OBSERVED, now) if len(pending.seen) >= pending.engine_count else None

    def deadline(self) -> float | None:
        """When the start being watched times out."""
        return None if self._pending is None else self._pending.asked_at + self._timeout

    def time_out(self, now: float) -> StartAction | None:
        """Give up on the start being watched if its time is over."""
        deadline = self.deadline()
        return self._finish(ActionState.TIMED_OUT, now) if deadline is not None and now >= deadline else None

    def records(self) -> tuple[StartAction, ...]:
        """All actions held, oldest first."""
        finished = tuple(self._finished.values())
        return finished if self._pending is None else (*finished, self._pending.view(ActionState.ASKED, None))

    def _finish(self, state: ActionState, now: float) -> StartAction:
        assert self._pending is not None
        action = self._pending.view(state, now)
        self._pending = None
        self._finished[action.id] = action
        while len(self._finished) > ACTIONS_KEPT:
            self._finished.popitem(last=False)
        return action
