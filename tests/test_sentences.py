"""What the coordinator says in words, of events, of how it stands, and of manual starts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dp_coordinator
from dp_coordinator.core.snapshot import ActionState, RecoveryPhase, RecoveryState, WaveEvidence
from dp_coordinator.sentences import (
    EVENTS,
    duration,
    event,
    grouped,
    ranks,
    recovery_text,
    start_text,
    state_text,
    state_tone,
)
from dp_coordinator.words import DeploymentState, EventGroup, Severity, Tone
from tests.web.builders import action, snapshot


@pytest.mark.parametrize(("count", "text"), [(1, "1"), (1024, "1024"), (9999, "9999"), (1_234_567, "1 234 567")])
def test_counts_are_grouped_from_five_digits_on(count: int, text: str) -> None:
    assert grouped(count) == text


def logged(source: str) -> Iterator[str]:
    """Kinds in calls of `LogEvent(kind, fields)`, `log.append(at, kind, fields)`, and those of the sources' book."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        place = {("LogEvent", 2): 0, ("append", 3): 1, ("_changed", 2): 0}.get((called, len(node.args)))
        if place is not None:
            parts = ast.walk(node.args[place])
            yield from (part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))


def test_every_kind_that_is_logged_has_a_sentence_and_no_other_has() -> None:
    files = Path(dp_coordinator.__file__).parent.rglob("*.py")
    assert {kind for path in files for kind in logged(path.read_text())} == set(EVENTS)


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        ("wave_started", {"wave": 3, "cause": "engine", "engine": 1}, "Wave 3 started, by engine (rank 1)"),
        ("wave_started", {"wave": 3, "cause": "front-end", "engine": None}, "Wave 3 started, by front-end"),
        ("wave_started", {"wave": 3, "cause": "unknown", "engine": 2}, "Wave 3 started, rank 2"),
        (
            "wave_asked",
            {"wave": 3, "cause": "manual", "engine": None, "excluded": None},
            "START for wave 3 broadcast, by hand",
        ),
        (
            "wave_asked",
            {"wave": 57, "cause": "recovery", "engine": None, "excluded": 0},
            "START for wave 57 broadcast, after the restart, all but rank 0",
        ),
        ("wave_completed", {"wave": 3, "engine": 0, "duration_s": 4.2}, "Wave 3 completed after 4.20 s"),
        ("wave_completed", {"wave": 3, "engine": 0, "duration_s": None}, "Wave 3 completed"),
        ("start_unanswered", {"wave": 3}, "START for wave 3 was not answered: no rank joined"),
        ("engine_subscribed", {"subscribed": 2, "of": 4}, "An engine subscribed: 2 of 4 now"),
        (
            "engine_unsubscribed",
            {"subscribed": 3, "of": 4, "engine": 3, "peer": "pid 7 VLLM::EngineCore_DP3", "why": "connection closed"},
            "Rank 3's subscription ended (pid 7 VLLM::EngineCore_DP3: connection closed): 3 of 4 now",
        ),
        ("engine_replaced", {"engine": 3, "peer": None}, "Another process took the place of rank 3"),
        ("tap_connected", {"channel": "back_publish", "peer": "pid 7"}, "A tap listens on back_publish (pid 7)"),
        ("front_end_unsubscribed", {"front_ends": 0}, "A front-end's subscription ended: 0 now"),
        (
            "engine_counters_reset",
            {"engine": 1, "from_wave": 3, "from_step": 64, "wave": 0, "step": 0},
            "Rank 1 counts anew: from wave 3, step 64 back to wave 0, step 0",
        ),
        ("engine_count_changed", {"before": 2, "after": 4}, "Engine count changed from 2 to 4"),
        (
            "manual_start_asked",
            {"wave": 3, "reason": "it hangs", "caller": "me"},
            'Manual start of wave 3 asked "it hangs", from me',
        ),
        (
            "manual_start_refused",
            {"refusal": "running", "detail": "it runs", "reason": None, "caller": "me"},
            "Manual start refused: it runs, from me",
        ),
        (
            "manual_start_observed",
            {"action": "a", "wave": 3, "joined": 4, "took_s": 0.041},
            "Manual start of wave 3: all ranks step after 41 ms",
        ),
        (
            "manual_start_observed",
            {"action": "a", "wave": 3, "joined": 1, "took_s": 0.041, "confirmed_by": "rank 0, step 1"},
            "Manual start of wave 3: all ranks step (rank 0, step 1) after 41 ms",
        ),
        (
            "manual_start_unclear",
            {"action": "a", "wave": 3, "joined": 1, "of": 4, "took_s": 5.0},
            "Manual start of wave 3: 1 of 4 ranks joined, and no step was confirmed: cannot tell more",
        ),
        (
            "manual_start_timed_out",
            {"wave": 3, "silent": [1, 3]},
            "Manual start of wave 3 timed out: ranks 1 and 3 silent",
        ),
        (
            "wave_set",
            {"before": 0, "after": 57, "reason": "it hangs", "caller": "me"},
            'Wave set by hand from 0 to 57 "it hangs", from me',
        ),
        ("engine_count_set", {"before": 1, "after": 4}, "Engine count set by hand from 1 to 4"),
        ("correction_refused", {"refusal": "r", "detail": "it is 3"}, "Setting by hand refused: it is 3"),
        (
            "bad_frame",
            {"channel": "back_output", "verdict": "undecodable", "detail": "37 bytes", "suppressed": 3},
            "Bad frame on back_output: 37 bytes (and 3 more not logged)",
        ),
        ("coordinator_started", {"pid": 7, "restarts": 0}, "Coordinator started"),
        (
            "coordinator_started",
            {"pid": 8, "restarts": 2, "resumed_wave": 57},
            "Coordinator came back (restart 2) with wave 57",
        ),
        (
            "coordinator_started",
            {"pid": 8, "restarts": 1, "resumed_wave": 5, "previous": "was ended by SIGKILL at its start"},
            "Coordinator came back (restart 1) with wave 5; the one before was ended by SIGKILL at its start",
        ),
        (
            "socket_unreachable",
            {"name": "back_output", "detail": "/tmp/o was removed by somebody else"},
            "back_output cannot be reached: /tmp/o was removed by somebody else",
        ),
        ("socket_works_again", {"name": "back_output"}, "back_output can be reached again"),
        (
            "part_missing",
            {"name": "the recording", "detail": "--record r cannot be written"},
            "Missing since the restart: the recording: --record r cannot be written",
        ),
        ("part_works_again", {"name": "the page"}, "Back since the restart: the page"),
        (
            "fresh_start",
            {"detail": "the first wave heard of is 57"},
            "A fresh start beside engines that live: the first wave heard of is 57",
        ),
        ("engines_rejoined", {"engines": 4, "wave": 57}, "All 4 engines are back after the restart"),
        (
            "recovery_finished",
            {"wave": 58, "took_s": 1.3},
            "Recovered from the restart after 1.30 s; the next wave is 58",
        ),
        (
            "journal_failed",
            {"detail": "No space left on device"},
            "The journal cannot be written, and a restart would lose the wave: No space left on device",
        ),
        ("journal_works_again", {"detail": None}, "The journal can be written again"),
        ("recording_gap", {"records": 30}, "The recording lacks 30 records: the disk was too slow"),
        ("recording_failed", {"detail": "disk full"}, "The recording cannot be written: disk full"),
        ("recording_works_again", {}, "The recording can be written again"),
        ("alarm_raised", {"alarm": "engine_gone", "severity": "critical", "title": "Gone"}, "Alarm: Gone"),
        ("alarm_cleared", {"alarm": "engine_gone", "title": "Gone", "lasted_s": 12}, "Cleared after 12.0 s: Gone"),
        ("a_new_kind", {"a": 1, "b": None}, "a new kind: a 1"),
        ("constructor", {}, "constructor"),
        ("wave_started", {"other": 1}, "wave started: other 1"),
    ],
)
def test_events_in_words(kind: str, fields: dict[str, object], text: str) -> None:
    assert event(kind, fields).text == text


FIELDS = (
    *("wave", "engine", "engines", "subscribed", "of", "front_ends", "cause", "excluded", "before", "after"),
    *("from_wave", "from_step", "step", "channel", "verdict", "detail", "suppressed", "refusal", "reason", "caller"),
    *(
        "took_s",
        "duration_s",
        "lasted_s",
        "joined",
        "silent",
        "confirmed_by",
        "records",
        "title",
        "severity",
        "restarts",
    ),
    *("name", "previous"),
)


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("value", ["x", {}, [], {"a": [1]}, True, -1, float("nan"), 10**400, "{wave}", b"\xff"])
def test_fields_of_another_kind_than_expected_break_nothing(kind: str, value: object) -> None:
    for fields in ({}, dict.fromkeys(FIELDS, value), dict.fromkeys(FIELDS, value) | {"cause": None}):
        said = event(kind, fields)
        assert said.text
        assert said.group is EVENTS[kind][0]


def test_what_is_not_understood_is_shown_in_part_when_it_is_long() -> None:
    assert len(event("new", {"a": "x" * 10_000}).text) < 600
    assert event("new", {}).group is EventGroup.OTHER


@pytest.mark.parametrize(
    ("kind", "fields", "tone"),
    [
        ("coordinator_started", {"restarts": 0}, Tone.GOOD),
        ("coordinator_started", {"restarts": 1}, Tone.WARN),
        ("alarm_raised", {"severity": "critical", "title": "x"}, Tone.BAD),
        ("alarm_raised", {"alarm": "new_kind", "title": "x"}, Tone.WARN),
        ("bad_frame", {"channel": "c", "verdict": "v"}, Tone.BAD),
        ("recording_gap", {"records": 1}, Tone.WARN),
        ("wave_completed", {"wave": 1}, Tone.PLAIN),
    ],
)
def test_how_events_look(kind: str, fields: dict[str, object], tone: Tone) -> None:
    assert event(kind, fields).tone is tone


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[
            (0.0414, "41 ms"),
            (0.9994, "999 ms"),
            (0.9996, "1.00 s"),
            (-1, "0 ms"),
            (4.123, "4.12 s"),
            (34.51, "34.5 s"),
        ],
        *[(725, "12 min 5 s"), (12_000, "3 h 20 min"), (190_000, "2 d 4 h")],
    ],
)
def test_durations_are_told_in_the_unit_people_would_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("indexes", "text"),
    [
        ([], "no rank"),
        ([3], "rank 3"),
        ([5, 3], "ranks 3 and 5"),
        ([0, 1, 2, 3, 7], "ranks 0-3 and 7"),
        ([0, 1, 5, 6], "ranks 0, 1, 5 and 6"),
        ([1, 3, 5, 7, 9, 11, 13, 15, 20, 21, 22], "ranks 1, 3, 5, 7, 9, 11, 13, 15 and 3 more"),
    ],
)
def test_ranks_in_words(indexes: list[int], text: str) -> None:
    assert ranks(indexes) == text


def recovery(phase: RecoveryPhase = RecoveryPhase.REJOINING, finished_at: float | None = None) -> RecoveryState:
    return RecoveryState(phase, 57, 95.0, 3, 4, finished_at)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "Paused; the next wave is 3"),
        ({"state": DeploymentState.WAITING, "engines_subscribed": 1}, "Waiting for engines: 1 of 2 are there"),
        ({"state": DeploymentState.RECOVERING}, "Wave 3; what the engines do is not known yet"),
        ({"state": DeploymentState.SERVING}, "Serving; there are no waves: every engine steps by itself"),
        (
            {"state": DeploymentState.STARTING, "wave": WaveEvidence(3, 99.7)},
            "Wave 3 is starting, asked 300 ms ago; no rank has joined yet",
        ),
        (
            {"state": DeploymentState.STARTING, "wave": WaveEvidence(3, 92.0, 93.0, (1,))},
            "Wave 3 is starting, asked 8.00 s ago, announced; joined by rank 1",
        ),
        (
            {"state": DeploymentState.RUNNING, "wave": WaveEvidence(3, 92.0, 93.0, (1,))},
            "Wave 3 is running; joined by rank 1; step not confirmed yet: vLLM reports only when counts change",
        ),
        (
            {"state": DeploymentState.RUNNING, "wave": WaveEvidence(3, 92.0, 93.0)},
            "Wave 3 is running; announced, and no rank reports: step not confirmed",
        ),
        (
            {"state": DeploymentState.RUNNING, "wave": WaveEvidence(3, 92.0, 93.0, (1,), 94.0, "rank 1, step 32")},
            "Wave 3 is running; stepping, confirmed by rank 1, step 32",
        ),
    ],
)
def test_the_state_in_words(changes: dict[str, Any], text: str) -> None:
    assert state_text(snapshot((None, None), **changes), 100.0) == text


@pytest.mark.parametrize(
    ("changes", "worst", "tone"),
    [
        ({}, None, Tone.PLAIN),
        ({"state": DeploymentState.STARTING}, None, Tone.PLAIN),
        ({"state": DeploymentState.RUNNING}, None, Tone.PLAIN),
        ({"state": DeploymentState.RUNNING, "wave": WaveEvidence(3, confirmed_at=99.0)}, None, Tone.GOOD),
        ({"state": DeploymentState.RUNNING, "wave": WaveEvidence(3, confirmed_at=99.0)}, Severity.CRITICAL, Tone.BAD),
        ({"state": DeploymentState.SERVING}, None, Tone.GOOD),
        ({"state": DeploymentState.SERVING}, Severity.WARNING, Tone.WARN),
    ],
)
def test_green_is_what_is_confirmed_and_an_alarm_goes_before(changes: Any, worst: Severity | None, tone: Tone) -> None:
    assert state_tone(snapshot((None, None), **changes), worst) is tone


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (recovery(), "Recovering: 3 of 4 engines are back; wave 57 was resumed"),
        (recovery(RecoveryPhase.SETTLING), "Recovering: START was sent for wave 58, waiting for its end"),
        (recovery(RecoveryPhase.DONE, 95.4), "Recovered 400 ms after the restart, which resumed wave 57"),
    ],
)
def test_a_restart_in_words(state: RecoveryState, text: str) -> None:
    assert recovery_text(state, 58) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "Asked 2.00 s ago, no rank has joined yet"),
        ({"joined": ((2, 0.01),)}, "Asked 2.00 s ago, 1 of 4 ranks joined, no step confirmed yet"),
        (
            {"state": ActionState.OBSERVED, "confirmed_by": "rank 0, step 32", "finished_at": 100.0414},
            "Confirmed after 41 ms: all 4 ranks step (rank 0, step 32)",
        ),
        (
            {"state": ActionState.CANNOT_TELL, "joined": ((0, 0.1), (2, 0.2)), "finished_at": 105.0},
            "Cannot tell after 5.00 s: joined by ranks 0 and 2 (2 of 4), "
            "step not confirmed yet: vLLM reports only when counts change",
        ),
        (
            {"state": ActionState.CANNOT_TELL, "finished_at": 105.0},
            "Cannot tell after 5.00 s: these engines report nothing, and the wave did not end",
        ),
        (
            {"state": ActionState.TIMED_OUT, "engine_count": 20, "finished_at": 105.0},
            "Timed out after 5.00 s: no rank was seen to join (0 of 20)",
        ),
    ],
)
def test_a_manual_start_says_what_was_seen_in_one_sentence(changes: dict[str, Any], text: str) -> None:
    assert start_text(action(**changes), 102.0) == text
