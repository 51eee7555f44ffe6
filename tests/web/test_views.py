from __future__ import annotations

import time
from typing import Any

import pytest
from msgspec.structs import replace

from dp_coordinator import messages as m
from dp_coordinator.core.events import Peer
from dp_coordinator.core.snapshot import (
    Connection,
    EndedConnection,
    PeersView,
    RecoveryPhase,
    RecoveryState,
    WaveEvidence,
)
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.web import views
from dp_coordinator.words import AlarmKind, Channel, DeploymentState, EngineStatus, PeerKind
from tests.web.builders import snapshot, wave
from tests.web.rig import ENDPOINTS

RUNNING = {"state": DeploymentState.RUNNING, "engines_running": True}
STARTING = {"state": DeploymentState.STARTING, "engines_running": True}


def rows(reported_at: tuple[float | None, ...], **changes: Any) -> list[m.Engine]:
    return views.columns(snapshot(reported_at, **changes), [], 100.0).rows()


def test_the_status_of_most_ranks_is_said_once() -> None:
    reported_at = (99.0, None, 10.0, 99.0, 10.0, 99.0)
    assert views.statuses(snapshot(reported_at, **RUNNING), [], 100.0) == m.Statuses(
        EngineStatus.WORKING,
        {EngineStatus.QUIET: [2, 4], EngineStatus.NEVER: [1], EngineStatus.IDLE: [0]},
    )
    assert [row.status for row in rows(reported_at, **RUNNING)] == [
        "idle",
        "never",
        "quiet",
        "working",
        "quiet",
        "working",
    ]


@pytest.mark.parametrize(
    ("changes", "alarms", "told"),
    [
        ({"state": DeploymentState.STARTING, "wave": WaveEvidence(3, 99.2)}, (), []),
        ({"state": DeploymentState.STARTING, "wave": WaveEvidence(3, 99.0)}, (), [("starting", "plain")]),
        ({"state": DeploymentState.STARTING, "wave": WaveEvidence(3, 99.0)}, ("asked_not_stepping",), []),
        ({"state": DeploymentState.STARTING}, (), []),
        ({"state": DeploymentState.RUNNING, "wave": WaveEvidence(3, 99.0)}, (), []),
        ({"recovery": RecoveryState(RecoveryPhase.REJOINING, 3, 90.0, 1, 2, None)}, (), [("recovery", "plain")]),
        ({"recovery": RecoveryState(RecoveryPhase.REJOINING, 3, 90.0, 1, 2, None)}, ("recovery_under_way",), []),
        ({"recovery": RecoveryState(RecoveryPhase.DONE, 3, 60.0, 2, 2, 71.0)}, (), [("recovery", "good")]),
        ({"recovery": RecoveryState(RecoveryPhase.DONE, 3, 60.0, 2, 2, 69.0)}, (), []),
    ],
)
def test_what_is_told_in_passing(
    changes: dict[str, Any], alarms: tuple[AlarmKind, ...], told: list[tuple[str, str]]
) -> None:
    notices = views.notices(snapshot((None, None), **changes), alarms, 100.0)
    assert [(notice.kind, notice.tone) for notice in notices] == told
    assert all(notice.text for notice in notices)


def test_what_was_never_reported_is_null_and_not_zero() -> None:
    never, zero = rows((None, 99.5))[0], rows((99.5, None))[0]
    assert (never.waiting, never.running, never.kv_cache_usage, never.age_s) == (None, None, None, None)
    assert (zero.waiting, zero.running, zero.kv_cache_usage, zero.age_s) == (0, 0, 0.0, 0.5)


def test_waves_are_newest_first_with_their_durations() -> None:
    open_one = wave(4, ended_at=None, completed=False, asked_at=None, started_at=98.0)
    only_end = wave(2, asked_at=None, started_at=None)
    made = views.waves(snapshot(waves=(only_end, wave(3), open_one)), 2, 100.0, views.WallClock())
    assert [(w.number, w.open, w.duration_s) for w in made] == [(4, True, 2.0), (3, False, 10.0)]
    assert views.wave(only_end, 100.0, views.WallClock()).duration_s is None


def test_the_wall_clock_stays_still_for_one_moment_and_follows_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = views.WallClock()
    moment = time.monotonic()
    first = clock.of(moment)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 0.1)
    assert clock.of(moment) == first
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert clock.of(moment) == pytest.approx(first + 3600, abs=0.1)


def test_the_data_is_as_old_as_the_loops_last_word() -> None:
    mailbox = Mailbox(snapshot(), ENDPOINTS, min_stats_update_interval=0.1)
    mailbox.loop_alive_at = 108.0
    assert views.data_age(mailbox, mailbox.snapshot, 108.0) == 0.05  # idle: nothing new, but the loop turns
    assert views.data_age(mailbox, mailbox.snapshot, 118.0) == 10.05  # stuck
    mailbox.loop_alive_at = 60.0
    assert views.data_age(mailbox, mailbox.snapshot, 101.0) == 1.0


def test_state_and_stream_tell_the_same() -> None:
    seen = snapshot((99.0, None, 98.0), **RUNNING, wave=WaveEvidence(3, 91.0, joined=(2,)))
    mailbox = Mailbox(seen, ENDPOINTS, min_stats_update_interval=0.1)
    clock = views.WallClock()
    state = views.state(mailbox, seen, [], 100.0, clock)
    message = views.snapshot_message(mailbox, seen, [], 100.0, clock)
    for name in set(state.__struct_fields__) & set(message.__struct_fields__) - {"engines"}:
        assert getattr(state, name) == getattr(message, name), name
    assert [replace(row, status_text="") for row in state.engines] == message.engines.rows()
    assert [row.status_text for row in state.engines[:2]] == ["no requests", "nothing was reported"]
    assert list(state.wave.joined) == [2]


def test_a_rank_is_where_its_reports_come_from_until_it_is_gone() -> None:
    listens, reports, again = (
        Peer(n, channel, "10.0.0.7", f"10.0.0.7:{n}")
        for n, channel in ((1, Channel.BACK_PUBLISH), (2, Channel.BACK_OUTPUT), (3, Channel.BACK_PUBLISH))
    )
    connections = tuple((Connection(peer, 10.0), PeerKind.ENGINE, 0) for peer in (listens, reports, again))
    new = Connection(Peer(4, Channel.BACK_PUBLISH, "10.0.0.8", "10.0.0.8:4"), 11.0)
    unnamed = (new, PeerKind.ENGINE, None)
    gone = {0: EndedConnection(listens, 10.0, 95.0, "timed out")}

    def places(peers: PeersView) -> list[int | None]:
        return views.peers(snapshot((99.0, None), **RUNNING, peers=peers), views.WallClock()).places

    assert places(PeersView((*connections, unnamed), {}, 0, 0, (), {})) == [1, None]
    assert places(PeersView((connections[0], unnamed, connections[2]), {}, 0, 0, (), {})) == [2, None]
    assert places(PeersView(connections, gone, 0, 0, (), {})) == [3, None]


def test_who_is_there_and_who_was() -> None:
    there = Peer(1, Channel.BACK_OUTPUT, "", "ipc", "PUSH", 2918, "VLLM::EngineCore_DP0", 0)
    was = Peer(2, Channel.BACK_OUTPUT, "10.0.0.7", "10.0.0.7:51234")
    peers = PeersView(
        ((Connection(there, 10.0), PeerKind.ENGINE, 0),),
        {1: EndedConnection(was, 20.0, 95.0, "timed out")},
        0,
        0,
        (),
        {},
    )
    seen = snapshot((99.0, 94.0), **RUNNING, peers=peers, peers_version=7)
    clock = views.WallClock(lambda: 1000.0)
    page = views.peers(seen, clock)
    assert page.version == 7
    assert [(each.socket, each.kind, each.engine, each.pid, each.why) for each in page.peers] == [
        ("back_output", "engine", 0, 2918, None),
        ("back_output", "engine", 1, None, "timed out"),
    ]
    assert page.places == [0, 1]
    first, second = views.engines(seen, [], 100.0, clock)
    assert first.peer is not None
    assert second.peer is not None
    assert (first.peer.name, second.peer.name) == ("pid 2918 VLLM::EngineCore_DP0", "10.0.0.7:51234")
    assert (first.peer.title, first.peer.connected_at, first.peer.ended_at) == ("VLLM::EngineCore_DP0", 1010.0, None)
    assert (second.status, second.status_text) == ("gone", "10.0.0.7:51234 timed out, 5.00 s ago")
