"""The torture itself: its rounds are drawn from the seed alone, and who watches over it sees what goes wrong."""

from __future__ import annotations

import os
import signal

import pytest
import zmq

from benchmarks import deployment
from benchmarks.torture.faults import FAULTS
from benchmarks.torture.hostile import KINDS
from benchmarks.torture.rounds import NONE, Outcome, Torture, drawn
from benchmarks.torture.watch import Limits
from tests.transport.rig import Peer, pack
from tests.waiting import wait_until

HOSTILE = [NONE, *KINDS]


def test_a_round_is_the_same_whenever_it_is_drawn_and_all_come_about() -> None:
    rounds = [drawn(7, number, "0.33", list(FAULTS), HOSTILE) for number in range(len(FAULTS) * len(HOSTILE))]
    assert rounds[40] == drawn(7, 40, "0.33", list(FAULTS), HOSTILE) != drawn(8, 40, "0.33", list(FAULTS), HOSTILE)
    assert {round_.fault for round_ in rounds[: len(FAULTS)]} == set(FAULTS)
    assert {round_.hostile for round_ in rounds[: len(HOSTILE)]} == set(HOSTILE)
    assert len({(round_.fault, round_.hostile) for round_ in rounds}) > len(rounds) / 3


def test_what_goes_wrong_is_found() -> None:
    with Torture(1, "0.33", Limits(resident_mb=1.0), Outcome()) as torture:
        found = torture.watch.seen.findings
        wait_until(lambda: any("of resident memory" in text for text in found), "memory beyond its limit is found")
        os.kill(torture.deployment.coordinator.worker_pid(), signal.SIGKILL)
        wait_until(lambda: any("ended by itself" in text for text in found), "an end that nobody caused is found")
        os.kill(torture.deployment.engines[1].pid, signal.SIGSTOP)
        torture.deployment.ask(20, [0, 1])
        torture.deployment.wait_for(lambda state: state["totals"]["running"] is not None)
        torture.deployment.engines[1].kill()
        torture.end()
        assert any("lost" in text for text in found)


def test_who_waits_for_a_strangers_notice_is_freed_by_hand_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through vLLM 0.28 such a notice has all ranks but one step, and front-ends that say nothing of their requests."""
    monkeypatch.setattr(deployment, "ANSWER_TIMEOUT_S", 2.0)
    with Torture(1, "0.28", Limits(), Outcome()) as torture, zmq.Context() as context:
        stage = torture.deployment
        stranger = Peer(context, zmq.XSUB, stage.coordinator.get_stats_publish_address())
        stranger.receive()
        stranger.send(pack((2, stage.wave)))
        stage.wait_for(lambda state: state["engines_running"])
        stage.ask(1, [0])
        assert not stage.answered(0)
        assert (stage.answered(0, strays=True), stage.by_hand) == (True, 1)
        stranger.close()
        torture.end()
        assert not torture.watch.seen.findings
