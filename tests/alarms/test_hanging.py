"""Who hangs, as sources tell it: scrapes as they come, one every two seconds of each target, each at its own time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dp_coordinator.alarms.detector import AlarmDetector, Observation
from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.beside import beside
from dp_coordinator.core.events import Peer
from dp_coordinator.core.snapshot import EndedConnection, Snapshot, WaveEvidence
from dp_coordinator.options import AlarmOptions
from dp_coordinator.sources.book import Book
from dp_coordinator.sources.telling import Answer, Sample
from dp_coordinator.words import AlarmKind, Channel, DeploymentState, RankCondition, Severity, SourceKind, TargetState
from tests.alarms.looks import running, snapshot

INTERVAL, LOOK, STEP = 2.0, 0.25, 0.05
ANYBODY: tuple[int | None, int | None] = (None, None)


class Engine:
    """One rank, which makes a step every 50 ms unless it is stopped."""

    def __init__(self, running: int = 3) -> None:
        self.running = running
        self.stopped_at: float | None = None
        self.steps_before, self.began = 0, 0.0
        self.usage = 0.2
        self.conditions: dict[RankCondition, str] = {}
        self.silent = False

    def steps(self, now: float) -> int:
        until = now if self.stopped_at is None else min(now, self.stopped_at)
        return self.steps_before + int((until - self.began) / STEP)

    def goes_on(self, now: float) -> None:
        self.steps_before, self.began, self.stopped_at = self.steps(now), now, None


class World:
    """Engines that are scraped, each a little later than the one before, and a detector."""

    def __init__(self, seen: Snapshot, count: int = 3, *, labels: bool = True) -> None:
        self.engines = [Engine() for _ in range(count)]
        self.book = Book(placed=seen.watched)
        self.names = [f"http://10.0.0.{rank}:8000" for rank in range(count)]
        self.book.ask(self.names)
        self.seen, self.labels = seen, labels
        self.detector = AlarmDetector(AlarmOptions())
        self.now = 0.0
        self.due = [0.1 + INTERVAL * rank / count for rank in range(count)]
        self.alarms: list[Alarm] = []
        self.not_running: dict[int, str] = {}

    def run(self, until: float) -> list[Alarm]:
        """Let time pass; the alarms that stand then."""
        while self.now < until:
            self.now = round(self.now + LOOK, 3)
            for rank, engine in enumerate(self.engines):
                while self.due[rank] <= self.now:
                    self.scrape(rank, engine, self.due[rank])
                    self.due[rank] += INTERVAL
            given = Observation(self.view(), self.now, {}, 0, not_running=self.not_running)
            self.alarms = self.detector.detect(given, self.now)
        return self.alarms

    def scrape(self, rank: int, engine: Engine, at: float) -> None:
        if engine.silent:
            self.book.failed(self.names[rank], TargetState.SILENT, "no answer within 3 s", at)
            return
        label = rank if self.labels else 0
        sample = Sample(label, 0, engine.running, engine.usage, engine.steps(at), "steps", 0.0, engine.conditions)
        self.book.answered(self.names[rank], Answer(SourceKind.VLLM, (sample,)), at)

    def view(self) -> Snapshot:
        return beside(self.seen, self.book.view())

    def until(self, kind: AlarmKind, at_most: float) -> tuple[Alarm, float]:
        """The alarm, and when it was raised."""
        while self.now < at_most:
            for alarm in self.run(self.now + LOOK):
                if alarm.kind is kind:
                    return alarm, self.now
        raise AssertionError(f"no {kind}: {self.alarms}")


def watched(count: int = 3, **changes: Any) -> Snapshot:
    """What `watch` sees of ranks of which nobody knows whether they go in lockstep."""
    nothing = snapshot(*[ANYBODY] * count, columns={"reported_at": (None,) * count}, waiting=None, running=None)
    state: dict[str, Any] = {"state": DeploymentState.SERVING, "wave_coordination": False}
    state |= {"watched": True, "ready": True}
    return replace(nothing, **(state | changes))


def lockstep(count: int = 3, **changes: Any) -> Snapshot:
    """Engines of ours behind external load balancing: a wave runs, and none reports."""
    nothing = running(*[ANYBODY] * count, columns={"reported_at": (None,) * count}, waiting=None, running=None)
    state: dict[str, Any] = {"wave": WaveEvidence(4, announced_at=0.0), "current_wave": 4}
    state |= {"ready": True, "state_since": 0.0}
    return replace(nothing, **(state | changes))


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("moment", [30.0, 30.4, 31.0, 31.7])
def test_a_rank_that_stands_while_others_step_is_named_in_time(rank: int, moment: float) -> None:
    world = World(watched())
    assert world.run(moment) == []
    world.engines[rank].stopped_at = moment
    alarm, at = world.until(AlarmKind.RANK_HUNG, moment + 20)
    assert at - moment <= 9.0
    assert alarm.engines == (rank,)
    assert world.names[rank] in alarm.title
    assert [each.kind for each in world.alarms] == [AlarmKind.RANK_HUNG]
    assert alarm.since <= moment + INTERVAL
    world.engines[rank].goes_on(world.now)
    assert world.run(world.now + INTERVAL + LOOK) == []


@pytest.mark.parametrize("moment", [30.0, 30.4, 31.0, 31.7])
def test_in_lockstep_all_stand_and_none_is_accused(moment: float) -> None:
    world = World(watched())
    world.run(moment)
    for rank, engine in enumerate(world.engines):
        engine.stopped_at = moment + STEP * rank  # each makes one step more than the one that hangs, at most
    alarm, at = world.until(AlarmKind.DEPLOYMENT_STANDS, moment + 20)
    assert at - moment <= 10.0
    assert alarm.engines == ()
    assert alarm.title.endswith("none makes a step; cannot tell which")
    world.run(moment + 60)
    assert [each.kind for each in world.alarms] == [AlarmKind.DEPLOYMENT_STANDS]
    for engine in world.engines:
        engine.goes_on(world.now)
    assert world.run(world.now + INTERVAL + LOOK) == []


def standing(seen: Snapshot) -> World:
    world = World(seen)
    world.run(30.0)
    for engine in world.engines:
        engine.stopped_at = 30.0
    return world


def test_a_process_that_is_stopped_is_named() -> None:
    world = standing(lockstep())
    world.not_running = {1: "pid 2919 VLLM::EngineCore_DP1 is stopped"}
    alarm, _ = world.until(AlarmKind.DEPLOYMENT_STANDS, 45.0)
    assert alarm.engines == (1,)
    assert "rank 1, pid 2919 VLLM::EngineCore_DP1 is stopped" in alarm.title


def test_an_engine_that_is_gone_is_named() -> None:
    seen = lockstep()
    peer = Peer(1, Channel.BACK_PUBLISH, "10.0.0.7", "10.0.0.7:1")
    gone = {2: EndedConnection(peer, 0.0, 30.0, "timed out")}
    world = standing(replace(seen, peers=replace(seen.peers, gone=gone)))
    alarm, _ = world.until(AlarmKind.DEPLOYMENT_STANDS, 45.0)
    assert (alarm.engines, "rank 2 is gone" in alarm.title) == ((2,), True)


def test_an_endpoint_that_is_silent_is_named() -> None:
    world = standing(lockstep())
    world.engines[0].silent = True
    alarm, _ = world.until(AlarmKind.DEPLOYMENT_STANDS, 45.0)
    assert alarm.engines == (0,)
    assert "the API server of rank 0 does not answer" in alarm.title
    assert "ranks 1 and 2 have requests" in alarm.title


def test_a_rank_behind_in_an_earlier_wave_is_named_and_one_behind_in_steps_only_mentioned() -> None:
    columns = {"current_wave": (4, 4, 3), "step_counter": (9, 9, 90)}
    world = standing(running((0, 3), (0, 3), (0, 3), columns=columns, state_since=0.0))
    alarm, _ = world.until(AlarmKind.DEPLOYMENT_STANDS, 45.0)
    assert alarm.engines == (2,)
    assert "rank 2 is behind in an earlier wave" in alarm.title
    steps = standing(running((0, 3), (0, 3), (0, 3), columns={"step_counter": (90, 4, 90)}, state_since=0.0))
    alarm, _ = steps.until(AlarmKind.DEPLOYMENT_STANDS, 45.0)
    assert alarm.engines == ()
    assert alarm.title.endswith("cannot tell which (rank 1 reported last at step 4 of 90)")


def test_where_engines_step_by_themselves_the_only_one_with_requests_is_named() -> None:
    for world in (World(watched(2), 2, labels=False), World(watched(2, watched=False), 2)):
        world.engines[0].running = 0
        world.run(30.0)
        world.engines[1].stopped_at = 30.0
        alarm, _ = world.until(AlarmKind.RANK_HUNG, 45.0)
        assert alarm.engines == (1,)


def test_a_long_prompt_is_no_hang() -> None:
    """Chunks of it are taken in by steps that make no tokens: the cache fills."""
    world = World(watched())
    world.run(30.0)
    world.engines[1].stopped_at = 30.0
    while world.now < 60.0:
        world.engines[1].usage += 0.001
        assert world.run(world.now + 1.0) == []


@pytest.mark.parametrize("condition", [RankCondition.PAUSED, RankCondition.SLEEPING, RankCondition.SCALING])
def test_what_stands_on_purpose_is_no_hang(condition: RankCondition) -> None:
    world = World(watched())
    world.run(30.0)
    world.engines[1].stopped_at = 30.0
    world.engines[1].conditions = {condition: "by hand"}
    assert world.run(60.0) == []


def test_idle_ranks_make_no_step_and_nobody_minds() -> None:
    world = World(watched())
    for engine in world.engines:
        engine.running, engine.stopped_at = 0, 10.0
    assert world.run(60.0) == []


def test_an_engine_that_began_anew_is_not_hung() -> None:
    world = World(watched())
    world.run(30.0)
    world.engines[1].steps_before, world.engines[1].began = 0, 30.0
    assert world.run(40.0) == []


def test_silence_on_the_wire_accuses_nobody_who_steps() -> None:
    """Reports are old by an hour, and without a heartbeat that would be an alarm."""
    seen = running((0, 16), (0, 16), columns={"reported_at": (1.0, 1.0)}, state_since=0.0)
    without = AlarmDetector(AlarmOptions())
    for second in range(200):
        alarms = without.detect(Observation(seen, float(second), {}, 0), float(second))
    assert [alarm.kind for alarm in alarms] == [AlarmKind.RANK_SILENT]
    world = World(seen, 2)
    assert world.run(200.0) == []
    assert world.view().wave.confirmed_at is None, "no wave was asked for or announced"


def test_a_rank_that_steps_confirms_the_wave() -> None:
    world = World(lockstep(wave=WaveEvidence(4, asked_at=20.0), state=DeploymentState.STARTING, state_since=20.0))
    world.run(19.9)
    early = world.view()
    assert early.wave.confirmed_at is None
    assert early.state is DeploymentState.STARTING
    world.run(26.0)
    now = world.view()
    assert now.wave.confirmed_by == "rank 0, which makes steps"
    assert now.state is DeploymentState.RUNNING
    assert world.alarms == []


def test_an_api_server_that_does_not_answer_is_another_alarm() -> None:
    world = World(lockstep())
    world.run(30.0)
    world.engines[1].silent = True
    alarm, _ = world.until(AlarmKind.ENDPOINT_SILENT, 45.0)
    assert alarm.engines == (1,)
    assert alarm.title == "API server does not answer: rank 1, http://10.0.0.1:8000: no answer within 3 s"
    assert [each.kind for each in world.alarms] == [AlarmKind.ENDPOINT_SILENT]
    assert (world.view().running, world.view().engines.running) == (6, (3, 3, 3))
    world.engines[1].silent = False
    assert world.run(world.now + INTERVAL) == []


def test_of_a_rank_that_is_gone_it_is_said_already() -> None:
    seen = lockstep()
    peer = Peer(1, Channel.BACK_PUBLISH, "10.0.0.7", "10.0.0.7:1")
    gone = {1: EndedConnection(peer, 0.0, 30.0, "connection closed")}
    world = World(seen)
    world.run(30.0)
    world.engines[1].silent = True
    world.seen = replace(seen, engines_subscribed=2, peers=replace(seen.peers, gone=gone))
    world.run(40.0)
    assert [each.kind for each in world.alarms] == [AlarmKind.ENGINE_GONE]


def test_beside_a_coordinator_an_api_server_has_time_to_begin() -> None:
    world = World(lockstep())
    for engine in world.engines:
        engine.silent = True
    assert world.run(119.0) == []
    world.until(AlarmKind.ENDPOINT_SILENT, 125.0)
    alone = World(watched())
    alone.engines[0].silent = True
    alone.until(AlarmKind.ENDPOINT_SILENT, 5.0)


def test_what_vllm_says_of_its_engines() -> None:
    world = World(watched())
    world.run(30.0)
    world.engines[2].conditions = {RankCondition.DEAD: "its health check fails"}
    alarm, _ = world.until(AlarmKind.RANK_FAULT, 35.0)
    title = "By vLLM's own word rank 2 is dead (its health check fails)"
    assert alarm == Alarm(AlarmKind.RANK_FAULT, Severity.CRITICAL, alarm.since, title, (2,))


def test_what_tells_nothing_is_named_with_the_reason() -> None:
    world = World(watched())
    world.run(30.0)
    world.book.trouble("vllm.example", "it has no address: Name or service not known", 30.0)
    alarm, _ = world.until(AlarmKind.SOURCE_UNUSABLE, 35.0)
    assert alarm.title == "Told nothing by vllm.example: it has no address: Name or service not known"
    world.book.trouble("vllm.example", None, world.now)
    assert world.run(world.now + 1.0) == []
