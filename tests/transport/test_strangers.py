"""One peer that belongs to nobody, on the wire: what it says moves nothing, and the record says who it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dp_coordinator.core.snapshot import Remembered
from tests.transport.rig import Rig, pack, rig
from tests.waiting import wait_until

NAMES = ("tcp", "ipc")


def outputs(index: int, *, wave_complete: int | None = None, start_wave: int | None = None, stats: Any = None) -> bytes:
    return pack([index, [], stats, 0.0, None, None, wave_complete, start_wave, None])


def report(index: int, wave: int) -> bytes:
    stats = {"num_waiting_reqs": 1, "num_running_reqs": 1, "step_counter": 0, "current_wave": wave}
    return outputs(index, stats=stats)


def refused(running: Rig) -> list[tuple[str, Any, Any]]:
    log = running.mailbox.log.since(0)
    return [(str(e.fields["verdict"]), e.fields["peer"], e.fields["engine"]) for e in log if e.kind == "bad_frame"]


@pytest.mark.parametrize("which", NAMES)
def test_a_stray_wave_message_moves_nothing_and_is_recorded_with_its_sender(tmp_path: Path, which: str) -> None:
    written: list[Remembered] = []
    host = "127.0.0.1" if which == "tcp" else None
    with rig(tmp_path, write_journal=written.append, dialect="0.33", host=host) as running:
        running.ready_engines()
        honest = [running.output() for _ in range(2)]
        for rank, output in enumerate(honest):
            output.send(report(rank, 0))
        wait_until(lambda: None not in running.mailbox.snapshot.engines.reported_at, "first reports")
        stray = running.output()
        wait_until(lambda: len(running.mailbox.snapshot.peers.connections) == 5, "its connection is known")
        for frame in (
            outputs(0, start_wave=57_758),
            outputs(1, wave_complete=2**53 - 1),
            outputs(999, start_wave=0),
            outputs(1, stats={"current_wave": 90_000}, start_wave=90_000),
        ):
            stray.send(frame)
        wait_until(lambda: len(refused(running)) == 4, "four refusals")
        assert [verdict for verdict, _, _ in refused(running)] == [
            "wave_far_ahead",
            "wave_out_of_range",
            "index_out_of_range",
            "wave_far_ahead",
        ]
        [peer] = {peer for _, peer, _ in refused(running)}
        assert str(peer).startswith("127.0.0.1:" if which == "tcp" else "pid ")
        assert {engine for _, _, engine in refused(running)} == {0, 1, 999}
        honest[0].send(outputs(0, start_wave=0))
        wait_until(lambda: running.mailbox.snapshot.engines_running, "the honest wave")
        assert running.mailbox.snapshot.current_wave == 0
        assert {state.current_wave for state in written} == {0}


def test_a_stray_scale_grows_nothing_and_is_recorded_with_its_sender(tmp_path: Path) -> None:
    with rig(tmp_path) as running:
        running.ready_engines()
        stray = running.front_end()
        wait_until(lambda: running.mailbox.snapshot.front_ends == 1, "its connection is known")
        stray.send(pack(("SCALE_ELASTIC_EP", 16_384)))
        wait_until(lambda: refused(running), "the refusal")
        [(verdict, peer, engine)] = refused(running)
        assert (verdict, engine) == ("scale_too_early", None)
        assert str(peer).startswith("pid ")
        assert running.mailbox.snapshot.engine_count == 2
        running.engine()  # two honest ones that SCALE has overtaken
        running.engine()
        running.front_end().send(pack(("SCALE_ELASTIC_EP", 4)))
        wait_until(lambda: running.mailbox.snapshot.engine_count == 4, "the honest SCALE")


def test_one_that_began_anew_beside_living_engines_finds_their_wave(tmp_path: Path) -> None:
    with rig(tmp_path, dialect="0.33") as running:
        engines = running.ready_engines()
        output = running.output()
        output.send(outputs(1, start_wave=57))
        output.send(report(1, 57))  # before its step, in which it waits for the others
        assert engines[0].receive_start() == [57, 1]
