"""The alarms at the edges of their rules, to the moment and to the request, and every word that they say.

A look here is made by hand, where the other tests drive a core: its times are whole numbers, so that "after 30 s" can
be told from "after more than 30 s".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dp_coordinator.alarms.detector import (
    BAD_FRAMES_QUIET,
    DEAF_AFTER,
    HELD_UP_AFTER,
    LATE_WITHIN,
    STUCK_AFTER,
    UNANSWERED_SHOWN,
    AlarmDetector,
    Observation,
)
from dp_coordinator.alarms.imbalance import FAR_MORE, FRESH_LOAD
from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.alarms.presence import FRONT_END_FORGOTTEN
from dp_coordinator.core.snapshot import (
    RecoveryPhase,
    RecoveryState,
    Snapshot,
    Wave,
    WaveCause,
    WaveEvidence,
)
from dp_coordinator.options import AlarmOptions
from dp_coordinator.words import AlarmKind, DeploymentState, Severity
from tests.alarms.looks import Looks, kinds, running, snapshot

OPEN = Wave(0, WaveCause.ENGINE, 1, 100.0, 100.0, None, False, 0, 0)


# -- asked, not stepping -----------------------------------------------------------------------------------------------

ASKED: dict[str, Any] = {"waves": (OPEN,), "state": DeploymentState.STARTING, "wave": WaveEvidence(0, 100.0, 100.0)}


def test_a_start_is_followed_within_five_seconds() -> None:
    seen = snapshot((0, 0), (1, 0), (0, 0), **ASKED | {"wave": WaveEvidence(0, 100.0, 100.0, (1,))})
    looks = Looks(seen)
    assert looks.until(seen, 104.0) == []
    (alarm,) = looks.until(seen, 105.0)
    title = "Ranks 0 and 2 not seen to join wave 0, which was asked for"
    kind = AlarmKind.ASKED_NOT_STEPPING
    assert alarm == Alarm(kind, Severity.CRITICAL, 100.0, title, (0, 2), {"wave": 0})


@pytest.mark.parametrize("number", [0, 5])
def test_a_wave_in_which_ranks_work_was_followed(number: int) -> None:
    """What shows that is the core's to judge: tests/core/test_start.py."""
    changes = ASKED | {"waves": (replace(OPEN, number=number),), "wave": WaveEvidence(number, 100.0, 100.0)}
    seen = snapshot((0, 0), (0, 0), (0, 0), **changes)
    (alarm,) = Looks(seen).until(seen, 110.0)
    assert alarm.counts == {"wave": number}
    seen = replace(seen, state=DeploymentState.RUNNING)
    assert Looks(seen).until(seen, 110.0) == []


def test_a_wave_of_one_that_never_reported_is_its_first() -> None:
    columns = {"step_counter": (0, 2, 0), "current_wave": (None, None, None)}
    seen = snapshot((0, 0), (0, 1), (0, 0), columns=columns, **ASKED | {"waves": (replace(OPEN, number=1),)})
    assert kinds(Looks(seen).until(seen, 110.0)) == ["asked_not_stepping"]


def test_a_start_that_was_given_up_counts_for_half_a_minute() -> None:
    given_up = replace(OPEN, started_at=None, ended_at=110.0)
    seen = snapshot((0, 0), (0, 0), (0, 0), waves=(given_up,), wave=WaveEvidence(1, joined=(0, 1, 2)))
    looks = Looks(seen)
    (alarm,) = looks.until(seen, 110.0 + UNANSWERED_SHOWN)
    assert alarm.engines == (0, 1, 2), "what was seen stepping was in another wave"
    assert looks.until(seen, 110.0 + UNANSWERED_SHOWN + 0.5) == []


def test_nothing_is_asked_of_dense_engines_or_while_they_come_back() -> None:
    either: tuple[dict[str, Any], ...] = ({"wave_coordination": False}, {"recovery": rejoining(at=109.5)})
    for changes in either:
        seen = snapshot((0, 0), (0, 0), (0, 0), **ASKED | changes)
        assert "asked_not_stepping" not in kinds(Looks(seen).until(seen, 110.0))


# -- silence -----------------------------------------------------------------------------------------------------------


def test_a_rank_may_be_silent_for_half_a_minute() -> None:
    seen = running((0, 20), (0, 0), (1, None), columns={"reported_at": (100.0, 130.0, 130.0)})
    looks = Looks(seen)
    assert looks.until(seen, 129.0) == []
    (alarm,) = looks.until(seen, 130.0)
    title = "Rank 0 has requests and said nothing for long"
    assert alarm == Alarm(AlarmKind.RANK_SILENT, Severity.WARNING, 100.0, title, (0,), {"requests": 20})


@pytest.mark.parametrize(("first", "second", "until"), [(100.0, 120.0, 140.0), (101.0, 126.0, 131.0)])
def test_of_two_that_step_together_neither_is_accused_of_the_time_in_which_none_had_news(
    first: float, second: float, until: float
) -> None:
    seen = running((0, 16), (0, 16), columns={"reported_at": (first, second)})
    assert Looks(seen).until(seen, until) == []


def test_all_ranks_may_be_silent_for_as_long_as_their_requests_together_allow() -> None:
    seen = running((0, 8), (0, 8), (0, 0))
    looks = Looks(seen)
    assert looks.until(seen, 129.0) == []
    (alarm,) = looks.until(seen, 130.0)
    assert (alarm.title, alarm.counts) == ("Ranks 0 and 1 have requests and said nothing for long", {"requests": 16})


def test_silence_counts_from_when_the_wave_runs() -> None:
    seen = running((0, 16), (0, 0), columns={"reported_at": (50.0, 50.0)}, state_since=110.0)
    looks = Looks(seen)
    assert looks.until(seen, 139.0) == []
    assert [alarm.since for alarm in looks.until(seen, 140.0)] == [110.0]


@pytest.mark.parametrize("gap", [DEAF_AFTER, DEAF_AFTER + 0.5])
def test_silence_counts_from_when_somebody_listened(gap: float) -> None:
    seen = running((0, 16), (0, 0))
    looks = Looks(seen)
    looks.until(seen, 120.0)
    looks.look(seen, 120.0 + gap)  # as long as nobody looked
    heard = gap <= DEAF_AFTER
    assert (kinds(looks.until(seen, 140.0)) == ["rank_silent"]) is heard
    looks = Looks(seen)
    looks.until(seen, 120.0)
    looks.look(seen, 121.0, loop_alive_at=121.0 - gap)  # as long as the loop stood still
    assert (kinds(looks.until(seen, 140.0)) == ["rank_silent"]) is heard


def test_what_was_reported_before_the_wave_is_not_the_last_word_of_it() -> None:
    seen = running((0, 8), (0, 0), columns={"reported_at": (50.0, 50.0)}, state_since=110.0)
    looks = Looks(seen)
    assert looks.until(seen, 169.0) == []
    assert kinds(looks.until(seen, 170.0)) == ["rank_silent"]


def test_work_may_be_held_up_for_five_seconds() -> None:
    seen = snapshot((2, 1), (None, None), (0, 0), columns={"reported_at": (101.0, None, 100.0)})
    looks = Looks(seen)
    assert looks.until(seen, 101.0 + HELD_UP_AFTER - 1) == []
    (alarm,) = looks.until(seen, 101.0 + HELD_UP_AFTER)
    title = "Paused, but rank 0 reported work and went silent"
    assert alarm == Alarm(AlarmKind.WORK_HELD_UP, Severity.WARNING, 101.0, title, (0,), {"requests": 3})


# -- load --------------------------------------------------------------------------------------------------------------


def heavy(*loads: int, reported: tuple[float | None, ...] | None = None) -> Snapshot:
    """Ranks that run so many requests, of dense engines: nothing but their load matters."""
    columns = {"reported_at": reported} if reported else {}
    return snapshot(
        *((0, load) for load in loads), columns=columns, wave_coordination=False, state=DeploymentState.SERVING
    )


def weigh(detector_looks: Looks, until: float, *loads: int) -> list[Alarm]:
    """Look once a second at ranks that have just reported so much."""
    alarms: list[Alarm] = []
    while detector_looks.now < until:
        now = detector_looks.now + 1.0
        alarms = detector_looks.look(heavy(*loads, reported=(now,) * len(loads)), now)
    return alarms


@pytest.mark.parametrize(
    ("loads", "raised"),
    [
        ((2, 2, 2 * 2 + FAR_MORE), (2,)),
        ((2, 2, 2 * 2 + FAR_MORE - 1), ()),
        ((0, FAR_MORE), (1,)),
        ((40,), ()),
        ((0, 0, 0, 0, 24, 24), (4, 5)),
    ],
)
def test_far_more_is_twice_the_mean_of_the_others_and_eight(loads: tuple[int, ...], raised: tuple[int, ...]) -> None:
    looks = Looks(heavy(*loads))
    assert weigh(looks, 130.0, *loads) == []
    alarms = weigh(looks, 131.0, *loads)
    assert [alarm.engines for alarm in alarms] == ([raised] if raised else [])


def test_what_an_imbalance_says() -> None:
    looks = Looks(heavy(1, 2, 30))
    (alarm,) = weigh(looks, 133.0, 1, 2, 30)
    title, counts = "Rank 2 has far more requests than the others", {"requests": 30, "requests_in_all": 33}
    assert alarm == Alarm(AlarmKind.LOAD_IMBALANCE, Severity.WARNING, 101.0, title, (2,), counts)
    looks = Looks(heavy(0, 0, 0, 0, 24, 24))
    (alarm,) = weigh(looks, 133.0, 0, 0, 0, 0, 24, 24)
    assert alarm.title == "Ranks 4 and 5 have far more requests than the others"


@pytest.mark.parametrize(("load", "stays"), [(7, True), (6, False)])
def test_an_imbalance_is_over_below_one_and_a_half_times_and_four(load: int, stays: bool) -> None:
    looks = Looks(heavy(2, 2, 30))
    weigh(looks, 135.0, 2, 2, 30)
    weigh(looks, 137.0, 2, 2, load)
    assert kinds(weigh(looks, 137.0, 2, 2, load)) == []
    assert kinds(looks.look(heavy(2, 2, load, reported=(137.5,) * 3), 137.5)) == ["load_imbalance"]
    assert (weigh(looks, 138.5, 2, 2, load) == []) is not stays


@pytest.mark.parametrize(("load", "stays"), [(4, True), (3, False)])
def test_beside_idle_ranks_it_is_over_below_four(load: int, stays: bool) -> None:
    looks = Looks(heavy(0, 0, 30))
    weigh(looks, 135.0, 0, 0, 30)
    assert (weigh(looks, 140.0, 0, 0, load) != []) is stays


def test_of_two_ranks_each_is_over_by_itself() -> None:
    looks = Looks(heavy(0, 0, 0, 0, 24, 24))
    weigh(looks, 135.0, 0, 0, 0, 0, 24, 24)
    (alarm,) = weigh(looks, 136.0, 0, 0, 0, 0, 24, 10)
    assert alarm.engines == (4,), "the others of rank 5 have 4.8 in the mean, and 10 is less than 11.2"


def test_a_load_that_drains_when_its_time_is_up_is_too_late() -> None:
    looks = Looks(heavy(0, 0, 50))
    weigh(looks, 130.0, 0, 0, 50)
    assert kinds(weigh(looks, 131.0, 0, 0, 39)) == ["load_imbalance"]


def test_a_load_that_falls_by_a_fifth_drains() -> None:
    for falls_to, kept in ((40, True), (39, False)):
        looks = Looks(heavy(0, 0, 50))
        weigh(looks, 120.0, 0, 0, 50)
        assert (kinds(weigh(looks, 135.0, 0, 0, falls_to)) == ["load_imbalance"]) is kept


def test_old_counts_are_not_compared() -> None:
    looks = Looks(heavy(0, 0, 50))
    weigh(looks, 125.0, 0, 0, 50)
    old = heavy(0, 0, 50, reported=(None, 125.0, 125.0))
    assert kinds(looks.until(old, 137.0)) == ["load_imbalance"]
    assert looks.until(old, 138.0) == [], "three seconds after the counts were ten seconds old"
    assert FRESH_LOAD == 10.0


# -- publications, frames, the rest ------------------------------------------------------------------------------------

STILL = snapshot((0, 0), (0, 0))


def test_a_loop_that_stands_still_for_three_seconds() -> None:
    looks = Looks(STILL)
    assert looks.until(STILL, 102.0, loop_alive_at=100.0) == []
    (alarm,) = looks.until(STILL, 100.0 + STUCK_AFTER, loop_alive_at=100.0)
    title = "The coordinator's loop stands still"
    assert alarm == Alarm(AlarmKind.PUBLICATION_LATE, Severity.CRITICAL, 100.0, title)


def test_three_late_publications_within_ten_seconds() -> None:
    looks = Looks(STILL)
    assert looks.look(STILL, 101.0, late_publications=1) == []
    assert looks.look(STILL, 102.0, late_publications=2) == []
    (alarm,) = looks.look(STILL, 103.0, late_publications=3)
    title = "Load is published late, again and again"
    assert alarm == Alarm(AlarmKind.PUBLICATION_LATE, Severity.WARNING, 101.0, title)
    assert looks.until(STILL, 103.0 + LATE_WITHIN - 1, late_publications=3), "one of them is not ten seconds old"
    assert looks.until(STILL, 103.0 + LATE_WITHIN, late_publications=3) == []
    looks.look(STILL, 120.0, late_publications=4)
    looks.look(STILL, 125.0, late_publications=5)
    assert looks.look(STILL, 120.0 + LATE_WITHIN, late_publications=6) == []


def test_lateness_began_with_the_third_last_and_keeps_its_beginning() -> None:
    looks = Looks(STILL)
    looks.look(STILL, 101.0, late_publications=2)
    assert [alarm.since for alarm in looks.look(STILL, 102.0, late_publications=5)] == [102.0]
    looks = Looks(STILL)
    found = [looks.look(STILL, 100.0 + late, late_publications=late) for late in range(1, 6)]
    assert [[alarm.since for alarm in alarms] for alarms in found] == [[], [], [101.0], [101.0], [101.0]]


def test_bad_frames_are_told_of_at_the_first_look() -> None:
    seen = Observation(STILL, 100.0, {("back_output", "oversize"): 2}, 0)
    assert kinds(AlarmDetector(AlarmOptions()).detect(seen, 100.0)) == ["bad_frames"]


def test_bad_frames_are_told_of_for_half_a_minute() -> None:
    looks = Looks(STILL)
    bad = {("back_output", "oversize"): 2}
    (alarm,) = looks.look(STILL, 101.0, bad_frames=bad)
    title = "2 oversize frames on back_output"
    counts = {"back_output oversize": 2}
    assert alarm == Alarm(AlarmKind.BAD_FRAMES, Severity.WARNING, 101.0, title, (), counts)
    assert looks.until(STILL, 101.0 + BAD_FRAMES_QUIET - 0.5, bad_frames=bad)
    assert looks.look(STILL, 101.0 + BAD_FRAMES_QUIET, bad_frames=bad) == []


def rejoining(at: float = 100.0, phase: RecoveryPhase = RecoveryPhase.REJOINING) -> RecoveryState:
    return RecoveryState(phase, 4, at, 1, 2, None)


def test_what_the_others_say() -> None:
    def alarm(seen: Snapshot, **more: Any) -> Alarm:
        looks = Looks(snapshot((0, 0), (0, 0), front_ends=2))
        assert looks.until(seen, 101.0) == []
        (found,) = looks.until(seen, 110.0, **more)
        return found

    gone = replace(STILL, peers=replace(STILL.peers, missing_unnamed=1), front_ends=2)
    title, counts = (
        "Engine gone: 1 of 2 are subscribed; vLLM does not tell which rank",
        {"subscribed": 1, "expected": 2},
    )
    assert alarm(gone) == Alarm(AlarmKind.ENGINE_GONE, Severity.CRITICAL, 101.0, title, (), counts)
    fewer = replace(STILL, front_ends=1)
    title, counts = "Front-ends gone: 1 of 2 are subscribed", {"subscribed": 1, "before": 2}
    assert alarm(fewer) == Alarm(AlarmKind.FRONT_END_GONE, Severity.WARNING, 101.0, title, (), counts)
    title, counts = "Restarted: 1 of 2 engines are back", {"back": 1, "expected": 2}
    back = replace(STILL, front_ends=2, recovery=rejoining(at=99.0))
    assert alarm(back) == Alarm(AlarmKind.RECOVERY_UNDER_WAY, Severity.CRITICAL, 99.0, title, (), counts)
    title = "Restarted: all engines are back, and none was seen to follow START"
    settling = replace(back, recovery=rejoining(phase=RecoveryPhase.SETTLING))
    assert alarm(settling) == Alarm(AlarmKind.RECOVERY_UNDER_WAY, Severity.WARNING, 100.0, title, (), counts)


def test_engines_follow_the_start_after_a_restart_within_five_seconds() -> None:
    seen = replace(STILL, recovery=rejoining(phase=RecoveryPhase.SETTLING))
    looks = Looks(seen)
    assert looks.until(seen, 106.0) == []
    assert kinds(looks.until(seen, 107.0)) == ["recovery_under_way"], "five seconds, and two that it must last"


def test_front_ends_that_left_are_forgotten_after_five_minutes() -> None:
    both, one = replace(STILL, front_ends=2), replace(STILL, front_ends=1)
    looks = Looks(both)
    looks.until(both, 250.0)
    assert kinds(looks.until(one, 250.0 + FRONT_END_FORGOTTEN)) == ["front_end_gone"]
    assert looks.until(one, 251.0 + FRONT_END_FORGOTTEN) == []


def test_a_journal_that_cannot_be_written_is_told_of_at_once() -> None:
    looks = Looks(STILL)
    (alarm,) = looks.look(STILL, 103.0, entries=[("journal_failed", 102.5)])
    title = "The journal cannot be written"
    assert alarm == Alarm(AlarmKind.JOURNAL_FAILED, Severity.WARNING, 102.5, title)
    assert looks.look(STILL, 104.0, entries=[("engine_subscribed", 103.5)]) == [alarm]
    assert looks.look(STILL, 105.0, entries=[("journal_works_again", 104.5)]) == []


# -- what others found -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (AlarmKind.SOCKET_UNREACHABLE, Severity.CRITICAL),
        (AlarmKind.FRESH_START, Severity.CRITICAL),
        (AlarmKind.PART_MISSING, Severity.WARNING),
        (AlarmKind.WEBHOOK_FAILING, Severity.WARNING),
    ],
)
def test_what_the_host_knows_to_be_wrong_stands_as_long_as_it_says_so(kind: AlarmKind, severity: Severity) -> None:
    looks = Looks(snapshot((0, 0)))
    assert looks.look(snapshot((0, 0)), 101.0, troubles={kind: (99.0, "It fell over")}) == [
        Alarm(kind, severity, 99.0, "It fell over")
    ]
    assert looks.look(snapshot((0, 0)), 102.0) == []


def test_whose_bad_frames_they_are_is_said_of_the_first_few() -> None:
    looks = Looks(snapshot((0, 0), (0, 0)))
    senders = [("pid 7", 1), ("pid 8", None), ("pid 9", 0), ("10.0.0.7:1", 2), ("pid 10", 1)]
    bad = {("back_output", "malformed"): 6, ("front_publish", "unexpected"): 1}
    (alarm,) = looks.look(snapshot((0, 0), (0, 0)), 101.0, bad_frames=bad, bad_frame_senders=senders)
    assert alarm.title == (
        "6 malformed frames on back_output, 1 unexpected frame on front_publish; "
        "from rank 1, pid 7; pid 8; rank 0, pid 9; rank 2, 10.0.0.7:1"
    )
    assert alarm.engines == (0, 1)
