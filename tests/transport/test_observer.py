"""The order of a host's duties: what others wait for leaves first, and whoever keeps books is told of everything."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import zmq

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.effects import BroadcastStartWave, Effect, LogEvent, SendReady, WriteJournal
from dp_coordinator.core.events import EngineStatsReported, ManualStartRequested, NewRequestNotified
from dp_coordinator.core.snapshot import StartAction
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import Endpoints
from dp_coordinator.observer import Books, Host
from dp_coordinator.transport import Loop, Sockets
from tests.core.connections import engine_subscribes, front_end_subscribes
from tests.transport.rig import PATIENCE, Peer


class Notes:
    """An observer, and what performs effects, in one list."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def perform(self, effects: list[Effect], now: float) -> None:
        self.taken += [type(effect) for effect in effects]

    def took(self, given: Any, effects: list[Effect], now: float) -> None:
        self.taken.append(given)

    def raised(self, given: Any, error: Any, now: float) -> None:
        self.taken.append((given, str(error)))

    def turned(self, now: float) -> Any:
        return now + 7.0


def host(notes: Any, perform: Any = None) -> Any:
    core = Coordinator(1, Dialect.for_version("0.28"), now=0.0)
    return Host(core, [notes], perform or notes.perform)


def test_effects_are_performed_before_anybody_is_told_of_them() -> None:
    notes = Notes()
    coordinator, notice = host(notes), NewRequestNotified(0, 0)
    coordinator.take(engine_subscribes(), 0.0)
    notes.taken.clear()
    coordinator.take(notice, 0.1)
    assert notes.taken.index(BroadcastStartWave) < notes.taken.index(notice)


def test_the_journal_is_written_before_ready_is_sent() -> None:
    notes = Notes()
    host(notes).take(engine_subscribes(), 0.0)
    assert notes.taken.index(WriteJournal) < notes.taken.index(SendReady)


def test_an_input_whose_effects_failed_is_told_all_the_same() -> None:
    def fail(effects: list[Effect], now: float) -> None:
        raise OSError("no such socket")

    notes, subscribed = Notes(), engine_subscribes()
    with pytest.raises(OSError, match="no such socket"):
        host(notes, fail).take(subscribed, 0.0)
    assert notes.taken == [subscribed]


def test_a_defect_of_the_core_is_told_and_raised() -> None:
    notes = Notes()
    coordinator, broken = host(notes), NewRequestNotified(0, None)  # type: ignore[arg-type]
    coordinator.take(engine_subscribes(), 0.0)
    notes.taken.clear()
    with pytest.raises(TypeError):
        coordinator.take(broken, 0.1)
    assert notes.taken == [(broken, notes.taken[0][1])]


def test_the_next_turn_is_when_the_core_or_an_observer_wants_it() -> None:
    coordinator = host(Notes())
    assert coordinator.core.next_deadline() is None
    assert coordinator.turned(1.0) == 8.0
    coordinator.take(engine_subscribes(), 1.0)
    due = coordinator.core.next_deadline()
    assert due is not None
    assert coordinator.turned(1.0) == due < 8.0
    assert Host(coordinator.core, []).turned(1.0) == due


def test_snapshots_follow_what_was_taken() -> None:
    core = Coordinator(1, Dialect.for_version("0.28"), now=0.0)
    mailbox = Mailbox(core.snapshot(0.0), Endpoints("", "", ""), min_stats_update_interval=0.1)
    books = Books(core, mailbox, 0.0)
    coordinator = Host(core, [books])
    assert books.turned(1.0) == float("inf"), "nothing has changed"
    coordinator.take([EngineStatsReported(0, 3, 0, 0.0, 0, 0)], 1.01)
    assert books.turned(1.02) == float("inf"), "the last snapshot is a second old"
    assert mailbox.snapshot.waiting == 3
    coordinator.take(engine_subscribes(), 2.0)
    due = books.turned(2.0)
    assert due == pytest.approx(2.005), "soon, but START is still on its way out"
    assert not mailbox.snapshot.ready
    assert books.turned(due) == float("inf")
    assert mailbox.snapshot.ready
    coordinator.take([EngineStatsReported(0, 4, 0, 0.0, 0, 0)], due)
    assert books.turned(due) == pytest.approx(due + 0.05)
    coordinator.take(ManualStartRequested("why", "test"), due)
    assert len(mailbox.snapshot.actions) == 1, "the state has it before the answer is given"


def test_frames_are_counted_by_kind_unless_they_are_rejected() -> None:
    core = Coordinator(2, Dialect.for_version("0.28"), now=0.0)
    mailbox = Mailbox(core.snapshot(0.0), Endpoints("", "", ""), min_stats_update_interval=0.1)
    coordinator = Host(core, [Books(core, mailbox, 0.0)])
    for given in (engine_subscribes(), engine_subscribes(), front_end_subscribes()):
        coordinator.take(given, 0.5)
    coordinator.take([EngineStatsReported(rank, 1, 0, 0.0, 0, 0) for rank in (0, 1, 2)], 0.6)
    assert mailbox.counters.frames == {
        ("engine_subscribe", "accepted"): 2,
        ("front_end_subscribe", "accepted"): 1,
        ("stats", "accepted"): 2,
        ("back_output", "index_out_of_range"): 1,
    }
    coordinator.turned(5.0)
    assert mailbox.counters.loads_published == 1


def test_a_new_engine_is_ready_before_a_start_that_is_asked_for_in_the_same_turn(tmp_path: Path) -> None:
    core = Coordinator(1, Dialect.for_version("0.28"), now=time.monotonic())
    with ExitStack() as stack:
        sockets = stack.enter_context(Sockets(*(f"ipc://{tmp_path}/{name}" for name in ("front", "output", "back"))))
        mailbox = Mailbox(core.snapshot(time.monotonic()), sockets.endpoints(), min_stats_update_interval=0.1)
        loop = stack.enter_context(closing(Loop(core, sockets, mailbox)))
        context = stack.enter_context(zmq.Context())
        engines = []
        for asked in (False, True):
            engines.append(stack.enter_context(closing(Peer(context, zmq.XSUB, mailbox.endpoints.back_publish))))
            assert sockets.back_publish.poll(int(PATIENCE * 1000))
            answer = mailbox.inbox.post(ManualStartRequested("why", "test")) if asked else None
            loop.turn()
            assert engines[-1].receive() == [b"READY"]
        assert answer is not None
        assert isinstance(answer.result(0), StartAction)
        assert engines[-1].receive_start() == [0, None]


def test_engines_that_come_and_go_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dp_coordinator")
    core = Coordinator(2, Dialect.for_version("0.28"), now=0.0)
    mailbox = Mailbox(core.snapshot(0.0), Endpoints("", "", ""), min_stats_update_interval=0.1)
    books = Books(core, mailbox, 0.0)
    ends = [LogEvent("engine_disconnected", {"engine": 1, "peer": "10.0.0.7:51234", "why": "timed out"})] * 100
    books.took(None, ends, 0.0)
    assert caplog.messages == ["Rank 1's reports ended (10.0.0.7:51234: timed out)"] * 20
    assert len(mailbox.log.since(0)) == 100, "the event log has them all"
