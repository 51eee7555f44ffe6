"""What a defect of our own, or a journal that cannot be written, does to the loop: it is told, and the loop goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dp_coordinator.core import Coordinator
from dp_coordinator.core.effects import Effect
from dp_coordinator.core.events import (
    Event,
    ManualStartRequested,
    NewRequestNotified,
    WaveCompleted,
)
from dp_coordinator.core.snapshot import StartAction
from dp_coordinator.transport import loop
from tests.transport.rig import Rig, pack, rig
from tests.waiting import wait_until

STATS = {"num_waiting_reqs": 3, "num_running_reqs": 1, "step_counter": 0, "current_wave": 0, "kv_cache_usage": 0.25}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> set[type[Event]]:
    """The kinds of event that the core fails at; its log is not shown."""
    caplog.set_level(logging.CRITICAL, logger="dp_coordinator")
    kinds: set[type[Event]] = set()
    handle = Coordinator.handle

    def failing(core: Coordinator, event: Event, now: float) -> Sequence[Effect]:
        if type(event) in kinds:
            raise RuntimeError("a defect")
        return handle(core, event, now)

    monkeypatch.setattr(Coordinator, "handle", failing)
    return kinds


def still_turns(running: Rig) -> bool:
    answer = running.mailbox.inbox.post(ManualStartRequested("why", "test")).result(timeout=20)
    return isinstance(answer, StartAction)


def test_a_defect_at_a_front_ends_message(tmp_path: Path, broken: set[type[Event]]) -> None:
    with rig(tmp_path) as r:
        r.ready_engines()
        broken.add(NewRequestNotified)
        r.front_end().send(pack((0, 0)))
        wait_until(lambda: r.frames("front_publish", "internal_error") == 1, "the defect is counted")
        broken.clear()
        assert still_turns(r)


def test_a_defect_at_an_engines_wave_message_keeps_what_it_reported(tmp_path: Path, broken: set[type[Event]]) -> None:
    with rig(tmp_path) as r:
        r.ready_engines()
        broken.add(WaveCompleted)
        r.output().send(pack([0, [], STATS, 1.0, None, None, 0]))
        wait_until(lambda: r.frames("back_output", "internal_error") == 1, "the defect is counted")
        wait_until(lambda: r.mailbox.snapshot.engines.waiting[0] == 3, "the report is in the state")
        assert still_turns(r)


def test_a_defect_in_decoding(tmp_path: Path, broken: set[type[Event]], monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(frame: bytes, reports: list[Any]) -> Any:
        raise RuntimeError("a defect")

    with rig(tmp_path) as r:
        r.ready_engines()
        monkeypatch.setattr(loop, "read_outputs", failing)
        r.output().send(pack([0]))
        wait_until(lambda: r.frames("back_output", "internal_error") == 1, "the defect is counted")
        assert still_turns(r)


def test_a_defect_at_a_command_is_its_answer(tmp_path: Path, broken: set[type[Event]]) -> None:
    with rig(tmp_path) as r:
        r.ready_engines()
        broken.add(ManualStartRequested)
        reply = r.mailbox.inbox.post(ManualStartRequested("why", "test"))
        with pytest.raises(RuntimeError, match="a defect"):
            reply.result(timeout=20)
        assert r.frames("inbox", "internal_error") == 1
        broken.clear()
        assert still_turns(r)


def test_a_journal_that_cannot_be_written(tmp_path: Path, broken: set[type[Event]]) -> None:
    full = True

    def write(_: object) -> None:
        if full:
            raise OSError("No space left on device")

    with rig(tmp_path, write_journal=write) as r:
        engines = r.ready_engines()
        wait_until(lambda: r.kinds().count("journal_failed") == 1, "it is told")
        full = False  # and nothing happens that would be written down
        wait_until(lambda: r.kinds().count("journal_works_again") == 1, "it is told when it works again")
        assert engines
        assert still_turns(r)


def test_commands_that_nobody_took_are_cancelled_at_the_end(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        r.ready_engines()
        r.loop.stop()
        r.thread.join(20)
        reply = r.mailbox.inbox.post(ManualStartRequested("why", "test"))
    assert reply.cancelled()
