"""Alarms as REST, the stream, the event log and the metrics tell them."""

from __future__ import annotations

import re
import time
from dataclasses import fields
from typing import Any

import msgspec
import pytest

from dp_coordinator import messages as m
from dp_coordinator.alarms.kinds import TEXTS
from dp_coordinator.core.snapshot import RecoveryPhase, RecoveryState
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.options import AlarmOptions
from dp_coordinator.web.alarms import AlarmBoard
from dp_coordinator.web.api.metrics import Metrics
from dp_coordinator.web.views import WallClock
from dp_coordinator.words import AlarmKind, DeploymentState
from tests.core.connections import engine_subscribes, engine_unsubscribes, front_end_subscribes, front_end_unsubscribes
from tests.web.builders import snapshot, wave
from tests.web.rig import ENDPOINTS, Site, site
from tests.web.test_metrics import scrape
from tests.web.watching import received, until

QUICK: dict[str, Any] = dict.fromkeys((limit.name for limit in fields(AlarmOptions)), 0.1)


def kinds_in_metrics(running: Site) -> dict[str, float]:
    return {labels[0][1]: value for (name, labels), value in scrape(running).items() if name == "alarm"}


def urgent_in_metrics(running: Site) -> set[str]:
    return {labels[0][1] for (name, labels), value in scrape(running).items() if name == "alarm_critical" and value}


def listed(running: Site) -> list[m.Alarm]:
    response = running.get("/api/v1/alarms")
    assert response.status_code == 200
    return msgspec.json.decode(response.content, type=m.AlarmPage).alarms


def alarm_events(running: Site) -> list[tuple[str, dict[str, Any]]]:
    entries = running.mailbox.log.since(0)
    return [(entry.kind, dict(entry.fields)) for entry in entries if entry.kind.startswith("alarm_")]


def test_a_healthy_deployment_has_none(fresh: Site) -> None:
    assert fresh.get("/api/v1/alarms").json() == {"alarms": []}
    assert kinds_in_metrics(fresh) == dict.fromkeys([kind.value for kind in AlarmKind], 0)
    assert fresh.get("/api/v1/alarms?kind=x").status_code == 422


def test_an_alarm_comes_and_goes_everywhere() -> None:
    with site(**QUICK) as running, running.stream() as viewer:
        running.loop.subscribe_all()
        began = time.time()
        last = running.mailbox.snapshot.peers.connections[-1][0].peer.name
        running.loop.feed(engine_unsubscribes())
        seen = until(viewer, lambda x: isinstance(x, m.SnapshotMessage) and bool(x.alarms))
        [alarm] = seen[-1].alarms
        assert (alarm.kind, alarm.severity, alarm.engines) == ("engine_gone", "critical", [])
        untold = "Engine gone: 3 of 4 are subscribed; vLLM does not tell which rank"
        assert alarm.counts == {"subscribed": 3, "expected": 4}
        assert abs(alarm.since - began) < 10
        assert 0 <= alarm.age_s < 20
        [told] = listed(running)
        assert (told.kind, told.since, told.title, told.meaning, told.remedy) == (
            (alarm.kind, alarm.since, alarm.title, *TEXTS[alarm.kind])
        )
        assert {kind for kind, stands in kinds_in_metrics(running).items() if stands} == {"engine_gone"}
        assert urgent_in_metrics(running) == {"engine_gone"}
        running.loop.feed(engine_subscribes())
        for message in received(viewer):
            if isinstance(message, m.EventMessage) and message.kind == "alarm_cleared":
                break
        until(viewer, lambda x: isinstance(x, m.SnapshotMessage) and not x.alarms)
        assert listed(running) == []
        assert kinds_in_metrics(running)["engine_gone"] == 0
        [(raised, is_), (cleared, was)] = alarm_events(running)
        assert (raised, cleared) == ("alarm_raised", "alarm_cleared")
        assert is_ == {
            "alarm": "engine_gone",
            "severity": "critical",
            "title": f"{untold} ({last}: connection closed)",
            "began_s_ago": is_["began_s_ago"],
            "engines": [],
            "counts": {"subscribed": 3, "expected": 4},
        }
        assert (was["alarm"], was["title"]) == ("engine_gone", is_["title"])
        assert 0 < was["lasted_s"] < 20


def test_critical_ones_come_first() -> None:
    with site(**QUICK) as running, running.stream() as viewer:
        running.loop.subscribe_all()
        running.loop.feed(front_end_subscribes(), front_end_subscribes())
        running.mailbox.counters.count_frame("back_output", "malformed")
        until(viewer, lambda x: isinstance(x, m.SnapshotMessage) and bool(x.alarms))
        running.loop.feed(front_end_unsubscribes(), engine_unsubscribes())
        seen = until(viewer, lambda x: isinstance(x, m.SnapshotMessage) and len(x.alarms) == 3)
    assert [alarm.kind for alarm in seen[-1].alarms] == ["engine_gone", "bad_frames", "front_end_gone"]


def board(**changes: Any) -> tuple[AlarmBoard, Mailbox]:
    mailbox = Mailbox(snapshot(**changes), ENDPOINTS, min_stats_update_interval=0.1)
    mailbox.loop_alive_at = 100.0
    return AlarmBoard(mailbox, AlarmOptions()), mailbox


def kinds(looking: AlarmBoard, now: float) -> list[str]:
    looking.look(now)
    return [alarm.kind for alarm in looking.messages(now, WallClock())]


def test_the_journal_is_told_of_by_the_event_log() -> None:
    looking, mailbox = board()
    mailbox.log.append(99.0, "journal_failed", {"detail": "[Errno 28] No space left on device"})
    assert kinds(looking, 100.0) == ["journal_failed"]
    mailbox.log.append(100.2, "journal_works_again", {"detail": None})
    assert kinds(looking, 100.1) == ["journal_failed"], "looked just now"
    assert kinds(looking, 100.5) == []


def test_only_what_is_late_by_more_than_half_a_second_is_late() -> None:
    looking, mailbox = board()
    lateness = mailbox.counters.publication_lateness_seconds
    kinds(looking, 100.0)
    for _ in range(50):
        lateness.observe(0.5)
    assert kinds(looking, 100.5) == []
    for seconds in (0.51, 0.9, 7.0):
        lateness.observe(seconds)
    assert kinds(looking, 101.0) == ["publication_late"]


def test_ranks_are_named_and_a_restart_is_told() -> None:
    asked = wave(number=3, asked_at=100.0, started_at=100.0, ended_at=None, completed=False)
    changes: dict[str, Any] = {
        "reported_at": (99.0, 99.0),
        "waves": (asked,),
        "state": DeploymentState.STARTING,
        "waiting": 1,
        "running": 1,
    }
    looking, mailbox = board(**changes)
    kinds(looking, 100.0)
    for now in range(101, 106):
        mailbox.loop_alive_at = now
        looking.look(now)
    [alarm] = looking.messages(105.0, WallClock())
    assert (alarm.kind, alarm.engines, alarm.age_s) == ("asked_not_stepping", (0, 1), 5.0)
    page = Metrics(mailbox, lambda: (0, 0), lambda: looking.standing).page().decode()
    named = re.findall(r'^dp_coordinator_engine_alarm{engine="(\d)",kind="(\w+)"} 1.0$', page, re.MULTILINE)
    assert named == [("0", "asked_not_stepping"), ("1", "asked_not_stepping")]
    rejoining = RecoveryState(RecoveryPhase.REJOINING, 3, 100.0, 1, 2, None)
    mailbox.snapshot = snapshot(**changes, recovery=rejoining)
    assert kinds(looking, 105.5) == []
    mailbox.loop_alive_at = 107.0
    assert kinds(looking, 107.5) == ["recovery_under_way"]


@pytest.mark.parametrize("kind", ["socket_unreachable", "fresh_start", "part_missing"])
def test_what_the_process_knows_to_be_wrong_is_an_alarm_while_it_says_so(kind: str) -> None:
    looking, mailbox = board()
    mailbox.troubles = {AlarmKind(kind): (99.0, "what it is")}
    assert kinds(looking, 100.0) == [kind]
    assert looking.messages(100.0, WallClock())[0].title == "what it is"
    mailbox.troubles = {}
    assert kinds(looking, 101.0) == []
