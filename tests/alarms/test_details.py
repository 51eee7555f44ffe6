"""Words for one and for several, and edges of rules that the scenarios beside this do not come to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dp_coordinator.alarms.detector import SURPLUS_AFTER, found_within
from dp_coordinator.alarms.hanging import (
    FIRST_ANSWER_S,
    deployment_stands,
    endpoint_silent,
    rank_hung,
    source_unusable,
    stepped,
)
from dp_coordinator.alarms.imbalance import Imbalance
from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.beside import REPORTED
from dp_coordinator.core.events import Peer
from dp_coordinator.core.snapshot import EndedConnection, Snapshot, WaveEvidence
from dp_coordinator.options import AlarmOptions
from dp_coordinator.sourced import Heartbeat, Origin, RankView, SourcesView, TargetView, Told
from dp_coordinator.words import AlarmKind, Channel, DeploymentState, RankCondition, Severity, SourceKind, TargetState
from tests.alarms.looks import Looks, kinds, running, snapshot

ORIGIN = Origin(SourceKind.VLLM)
LIMIT = 7.5


def view(rank: int, moved_at: float = 50.0, requests: int | None = 3, **more: Any) -> RankView:
    """A rank that a source looked at last at 100, and that made its last step at `moved_at`."""
    beat = Heartbeat(9.0, "steps", 100.0, moved_at, moved_at - 1.0, moved_at, ORIGIN)
    told = None if requests is None else Told(requests, 100.0, ORIGIN)
    return RankView(rank, f"http://e{rank}", running=told, heartbeat=more.pop("heartbeat", beat), **more)


def told_of(*views: RankView, targets: tuple[TargetView, ...] = (), **changes: Any) -> Snapshot:
    seen = running(*[(0, 16)] * max(3, len(views)), **changes)
    sources = replace(SourcesView(), ranks={each.rank: each for each in views}, targets=targets)
    return replace(seen, sources=sources)


def standing(*, gone: tuple[int, ...] = (), behind: tuple[int, ...] = ()) -> str:
    waves = tuple(3 - (rank in behind) for rank in range(4))
    seen = told_of(*(view(rank) for rank in range(4)), columns={"current_wave": waves})
    peer = Peer(1, Channel.BACK_PUBLISH, "10.0.0.7", "10.0.0.7:1")
    ended = {rank: EndedConnection(peer, 0.0, 30.0, "timed out") for rank in gone}
    alarm = deployment_stands(replace(seen, peers=replace(seen.peers, gone=ended)), LIMIT, {})
    assert alarm is not None
    return alarm.title.partition("makes a step; ")[2]


def test_words_for_one_rank_and_for_several_of_those_that_may_be_to_blame() -> None:
    assert standing(gone=(2,)) == "rank 2 is gone"
    assert standing(gone=(1, 2)) == "ranks 1 and 2 are gone"
    assert standing(behind=(3,)) == "rank 3 is behind in an earlier wave"
    assert standing(behind=(0, 3)) == "ranks 0 and 3 are behind in an earlier wave"


@pytest.mark.parametrize(
    ("hung", "title"),
    [
        (1, "rank 0 (http://e0) has"),
        (3, "rank 0 (http://e0); rank 1 (http://e1); rank 2 (http://e2) have"),
        (5, "rank 0 (http://e0); rank 1 (http://e1); rank 2 (http://e2); 2 more have"),
    ],
)
def test_of_many_that_hang_three_are_named_and_all_are_counted(hung: int, title: str) -> None:
    seen = told_of(*(view(rank, 50.0 if rank < hung else 99.0) for rank in range(6)))
    alarm = rank_hung(seen, LIMIT)
    assert alarm is not None
    title = f"Hung: {title} requests and made no step"
    assert alarm == Alarm(
        AlarmKind.RANK_HUNG, Severity.CRITICAL, 50.0, title, tuple(range(hung)), {"requests": 3 * hung}
    )


@pytest.mark.parametrize(("moved_at", "hangs"), [(51.0 + LIMIT / 2, True), (54.5, False)])
def test_others_step_once_they_are_half_the_setting_ahead(moved_at: float, hangs: bool) -> None:
    """It moved between `moved_at` and the look before that, a second earlier."""
    assert (rank_hung(told_of(view(0), view(1, moved_at)), LIMIT) is not None) is hangs


def test_of_a_rank_that_a_source_tells_of_and_the_deployment_has_not_nothing_is_said() -> None:
    seen = told_of(view(1, 99.0))
    assert seen.sources is not None
    seen = replace(seen, sources=replace(seen.sources, ranks={1: view(1, 99.0), 3: view(3)}))
    assert seen.engine_count == 3
    assert rank_hung(seen, LIMIT) is None


def test_one_request_is_enough_to_hang_with() -> None:
    alarm = rank_hung(told_of(view(0, requests=1), view(1, 99.0)), LIMIT)
    assert alarm is not None
    assert alarm.counts == {"requests": 1}


def test_one_rank_that_stands_alone_among_idle_ones_has_requests() -> None:
    seen = told_of(view(0), view(1, requests=0), view(2, requests=None))
    alarm = deployment_stands(seen, LIMIT, {})
    assert alarm is not None
    title = "The deployment stands: rank 0 has requests, and none makes a step; cannot tell which"
    assert alarm == Alarm(AlarmKind.DEPLOYMENT_STANDS, Severity.CRITICAL, 50.0, title, (), {"requests": 3})


def test_a_rank_that_hangs_while_an_idle_one_steps_is_not_said_twice() -> None:
    seen = told_of(view(0), view(1, 99.0, requests=0))
    assert rank_hung(seen, LIMIT) is not None
    assert deployment_stands(seen, LIMIT, {}) is None


def test_only_a_step_that_was_seen_is_a_step() -> None:
    never = Heartbeat(9.0, "steps", 100.0, 50.0, None, 50.0, ORIGIN)
    seen = told_of(view(0), view(1, heartbeat=never), view(2, heartbeat=None))
    assert stepped(seen) == {0: 50.0}
    assert rank_hung(seen, LIMIT) is None, "no other was seen to go on"


@pytest.mark.parametrize(("moved_at", "hangs"), [(100.0 - LIMIT, True), (100.25 - LIMIT, False)])
def test_a_rank_hangs_once_it_stood_for_as_long_as_the_setting_says(moved_at: float, hangs: bool) -> None:
    assert (rank_hung(told_of(view(0, moved_at), view(1, 99.0)), LIMIT) is not None) is hangs


def test_where_engines_are_instances_of_their_own_one_that_stands_hangs_though_no_other_steps() -> None:
    seen = replace(told_of(view(0), view(1, requests=0)), watched=True)
    assert rank_hung(seen, LIMIT) is None
    assert seen.sources is not None
    alarm = rank_hung(replace(seen, sources=replace(seen.sources, independent=True)), LIMIT)
    assert alarm is not None
    assert alarm.engines == (0,)


def target(state: TargetState, *ranks: int, answered_at: float | None = 90.0) -> TargetView:
    return TargetView("http://e", SourceKind.VLLM, state, "it says nothing", 95.0, answered_at, ranks)


@pytest.mark.parametrize(("answered_at", "who"), [(90.0, "rank 1, http://e"), (None, "http://e")])
def test_a_target_is_called_a_ranks_only_once_it_answered(answered_at: float | None, who: str) -> None:
    silent = told_of(targets=(target(TargetState.SILENT, 1, answered_at=answered_at),))
    alarm = endpoint_silent(silent, 100.0, 1000.0)
    assert alarm is not None
    title = f"API server does not answer: {who}: it says nothing"
    assert alarm == Alarm(AlarmKind.ENDPOINT_SILENT, Severity.CRITICAL, 95.0, title, (1,))
    nobodys = endpoint_silent(told_of(targets=(target(TargetState.SILENT),)), 100.0, 1000.0)
    assert nobodys is not None
    assert nobodys.title == "API server does not answer: http://e: it says nothing"


def test_several_api_servers_that_do_not_answer_are_counted() -> None:
    silent = told_of(targets=(target(TargetState.SILENT, 1), target(TargetState.SILENT, 0, 2)))
    alarm = endpoint_silent(silent, 100.0, 1000.0)
    assert alarm is not None
    assert alarm.title.startswith("2 API servers do not answer: ")
    assert alarm.engines == (0, 1, 2)


def test_an_api_server_has_its_time_from_the_first_look() -> None:
    silent = told_of(targets=(replace(target(TargetState.SILENT, 1), since=None, answered_at=None),))
    looks = Looks(silent, began=1000.0)
    assert "endpoint_silent" not in kinds(looks.until(silent, 1000.0 + FIRST_ANSWER_S))
    found = {alarm.kind: alarm for alarm in looks.until(silent, 1002.0 + FIRST_ANSWER_S)}
    assert found[AlarmKind.ENDPOINT_SILENT].since == 1000.0 + FIRST_ANSWER_S


@pytest.mark.parametrize(("ranks", "told"), [((0,), True), ((1,), False), ((0, 1), False), ((7,), True)])
def test_a_source_tells_nothing_while_its_rank_scales_and_that_is_no_fault(ranks: tuple[int, ...], told: bool) -> None:
    scales = view(1, conditions={RankCondition.SCALING: Told("by hand", 100.0, ORIGIN)})
    seen = told_of(view(0), scales, targets=(target(TargetState.UNUSABLE, *ranks),))
    assert (source_unusable(seen, 100.0) is not None) is told


def test_a_source_may_tell_nothing_for_as_long_as_an_engine_may_be_missing() -> None:
    seen = told_of(targets=(target(TargetState.UNUSABLE, 1),))
    looks = Looks(seen)
    assert looks.until(seen, 101.0) == []
    assert kinds(looks.until(seen, 102.0)) == ["source_unusable"]


def test_sources_whose_answers_tell_nothing() -> None:
    of_two, of_one = target(TargetState.UNUSABLE, 2, 0), target(TargetState.UNUSABLE, 1)
    alarm = source_unusable(told_of(targets=(of_two, of_one)), 100.0)
    title = "Told nothing by ranks 0 and 2, http://e: it says nothing; rank 1, http://e: it says nothing"
    assert alarm == Alarm(AlarmKind.SOURCE_UNUSABLE, Severity.WARNING, 95.0, title, (0, 1, 2))
    alarm = source_unusable(told_of(targets=(replace(of_two, since=None),)), 100.0)
    assert alarm is not None
    assert alarm.since == 100.0


def test_a_new_process_finds_an_alarm_within_the_time_that_its_kind_takes() -> None:
    given = AlarmOptions(
        alarm_silent_s=11.0,
        alarm_imbalance_s=12.0,
        alarm_not_stepping_s=13.0,
        alarm_missing_s=14.0,
    )
    found = {
        AlarmKind.RANK_SILENT: 11.0,
        AlarmKind.NEVER_HEARD: 11.0,
        AlarmKind.LOAD_IMBALANCE: 12.0,
        AlarmKind.ASKED_NOT_STEPPING: 13.0,
        AlarmKind.ENGINE_SURPLUS: SURPLUS_AFTER,
        AlarmKind.ENGINE_GONE: 14.0,
        AlarmKind.FRONT_END_GONE: 14.0,
    }
    assert {kind: found_within(kind, given) for kind in found} == found


# -- silence -----------------------------------------------------------------------------------------------------------


def silent_ranks(seen: Snapshot, at: float) -> list[tuple[int, ...]]:
    return [alarm.engines for alarm in Looks(seen).until(seen, at) if alarm.kind is AlarmKind.RANK_SILENT]


def serving(*loads: tuple[int, int], **changes: Any) -> Snapshot:
    """Engines that step by themselves."""
    return snapshot(*loads, state=DeploymentState.SERVING, wave_coordination=False, **changes)


def test_of_a_rank_that_only_a_source_tells_of_silence_on_the_wire_says_nothing() -> None:
    assert silent_ranks(serving((0, 16), (0, 16), provenance=(REPORTED, ORIGIN)), 131.0) == [(0,)]


def test_where_engines_step_by_themselves_a_step_speaks_for_its_own_rank_only() -> None:
    seen = replace(told_of(view(0, 129.0)), wave_coordination=False, state=DeploymentState.SERVING)
    assert silent_ranks(replace(seen, state_since=125.0), 131.0) == [(1, 2)]
    assert silent_ranks(replace(told_of(view(0, 129.0)), wave_coordination=True), 131.0) == []


@pytest.mark.parametrize(
    ("waves", "load", "heard", "accused"),
    [
        ((1, 1, 1), (0, 8), 200.0, (0, 1, 2)),
        ((1, 0, 1), (0, 8), 200.0, (1,)),
        ((1, 1, 1), (0, 8), 140.0, (1,)),  # 30 s with 16 requests, so 60 s with 8
        ((1, 1, 1), (0, 8), 145.0, (0, 1, 2)),
        ((1, 1, 1), (5, 0), 165.0, (1,)),
    ],
)
def test_when_all_are_silent_those_that_lagged_before_are_accused(
    waves: tuple[int, ...], load: tuple[int, int], heard: float, accused: tuple[int, ...]
) -> None:
    columns = {"current_wave": waves, "reported_at": (200.0, heard, 200.0)}
    seen = running((0, 16), load, (0, 16), columns=columns, wave=WaveEvidence(1, 100.0, 100.0))
    assert silent_ranks(seen, 260.0) == [accused]


# -- an imbalance that drains ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loads", "told_after"),
    [
        ([(100, 11), (60, 11), (0, 4)], 10),  # two queues that drain, each steady for ten seconds before
        ([(100, 1), (90, 10), (60, 11), (0, 4)], 20),  # the first began to drain at once
        ([(60, 11), (0, 4), (60, 11), (0, 4)], 10),
    ],
)
def test_of_queues_that_drain_the_time_counts_in_which_they_did_not(
    loads: list[tuple[int, int]], told_after: int
) -> None:
    """Rank 0 has so many requests for so many looks, one a second, and then 60 until it is told."""
    looks, now = Imbalance(30.0), 100.0

    def look(load: int, *, deaf: bool = False) -> dict[int, float]:
        rest = 1 if load else 0
        return looks.look([load, rest, rest], [now] * 3, now, deaf=deaf)

    for load, times in loads:
        for _ in range(times):
            assert look(load) == {}
            now += 1
    again = now
    while not look(60):
        now += 1
        assert now < again + 40
    assert now == again + told_after


@pytest.mark.parametrize(
    ("heavy_for", "spread_for", "told_after"),
    [(20.5, 5.0, 15.0), (5.5, 4.5, 29.5), (5.5, 5.0, 30.0), (5.5, 20.0, 30.0)],
)
def test_requests_that_are_spread_take_back_what_was_counted(
    heavy_for: float, spread_for: float, told_after: float
) -> None:
    """With two looks a second: it counts from the first at which they are not spread to the last."""
    looks, now = Imbalance(30.0), 100.0

    def look(loads: list[int]) -> dict[int, float]:
        return looks.look(loads, [now] * 3, now, deaf=False)

    for loads, times in (([60, 1, 1], heavy_for), ([2, 2, 2], spread_for)):
        for _ in range(int(2 * times)):
            now += 0.5
            assert look(loads) == {}
    now += 0.5
    again = now
    while not look([60, 1, 1]):
        now += 0.5
        assert now < again + 40
    assert now == again + told_after


def test_who_was_deaf_begins_to_count_anew_whatever_the_load_is_by_then() -> None:
    looks = Imbalance(30.0)
    looks.look([100, 1, 1], [100.0] * 3, 100.0, deaf=False)
    for now in (200.0, 229.0):
        assert looks.look([50, 1, 1], [now] * 3, now, deaf=now == 200.0) == {}
    assert looks.look([50, 1, 1], [230.0] * 3, 230.0, deaf=False) == {0: 200.0}
