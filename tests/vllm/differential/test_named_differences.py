"""Each difference of the list, shown: the two loops differ in exactly the way that its text says."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import pytest

from dp_coordinator.core import Dialect
from tests.vllm.differential import frames, generations
from tests.vllm.differential.comparison import all_sent, announcements, loads, to_engines
from tests.vllm.differential.differences import NAMED
from tests.vllm.differential.generator import STRAYS, SUBSCRIBE, UNSUBSCRIBE
from tests.vllm.differential.scripted import BACK, FRONT, OUTPUT, QUIET_MS, Stimulus, run_ours, run_vllm

pytestmark = pytest.mark.vllm
SHOWN: set[str] = set()
ENGINES = 2
F = TypeVar("F", bound=Callable[..., None])


def shows(name: str) -> Callable[[F], F]:
    """The test that shows this difference."""
    assert name in NAMED
    SHOWN.add(name)
    return lambda test: test


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="dp_coordinator")


def both(*stimuli: Any, which: str = generations.INSTALLED, ready: bool = True, **how: Any) -> Any:
    missing = generations.why_missing(which)
    if missing is not None:
        pytest.skip(missing)
    version, module = generations.load(which)
    first = [Stimulus(BACK, SUBSCRIBE, "engine subscribes")] * ENGINES if ready else []
    script = [*first, *stimuli]
    return run_vllm(module, script, ENGINES, **how), run_ours(version, script, ENGINES, **how)


def on_front(frame: bytes, after: int = 0) -> Any:
    return Stimulus(FRONT, frame, "", after)


def on_output(frame: bytes, after: int = 0) -> Any:
    return Stimulus(OUTPUT, frame, "", after)


def starts(outcome: Any) -> Any:
    return [msgspec.msgpack.decode(f[1]) for f in to_engines(all_sent(outcome)) if len(f) == 2]


def waves(outcome: Any) -> Any:
    return [tuple(msgspec.msgpack.decode(f)[1:]) for (f,) in announcements(all_sent(outcome))]


def counts(outcome: Any) -> Any:
    return [msgspec.msgpack.decode(f)[0] for (f,) in loads(all_sent(outcome))]


def load_times(outcome: Any) -> Any:
    return [at for at, where, (frame, *_) in outcome.sent_at if where == FRONT and msgspec.msgpack.decode(frame)[0]]


EMPTY = [0, 0, 0.0]
LATER = on_front(frames.notice(0, 0))
"""Shows that a loop still runs, in versions with notices."""


def test_every_difference_is_shown() -> None:
    assert set(NAMED) == SHOWN


@pytest.fixture
def with_notices() -> None:
    installed = generations.installed_version()
    if installed is not None and not Dialect.for_version(installed).notices_accepted:
        pytest.skip(f"front-ends of the installed vLLM {installed} send no notices")


@shows("identity_is_broadcast_as_index")
def test_identity(with_notices: Any) -> None:
    theirs, ours = both(on_front(frames.notice(b"\x01\x00", 0)))
    assert starts(theirs) == [[0, b"\x01\x00"]]
    assert starts(ours) == [[0, 1]]
    assert waves(theirs) == waves(ours)


@shows("unknown_engine_excludes_nobody")
@pytest.mark.parametrize("engine", [-1, 2, 70_000])
def test_notice_of_an_unknown_engine(engine: Any, with_notices: Any) -> None:
    theirs, ours = both(on_front(frames.notice(engine, 0)))
    assert starts(theirs) == [[0, engine]]
    assert starts(ours) == [[0, None]]


@shows("undecodable")
@pytest.mark.parametrize(("channel", "frame", "name"), [stray for stray in STRAYS if stray[2] == "undecodable"])
def test_undecodable(channel: str, frame: bytes, name: str, with_notices: Any) -> None:
    theirs, ours = both(Stimulus(channel, frame, name), LATER)
    if frame == frames.notice(b"\x01", 0):  # decodes, and is passed on: no engine has such an identity
        assert starts(theirs) == [[0, b"\x01"], [0, 0]]
    elif frame == frames.pack([]):  # every field has a default there: a message that says nothing
        assert (theirs.ended, starts(theirs)) == (None, [[0, 0]])
    else:
        assert theirs.ended in {"DecodeError", "ValidationError", "ValueError"}
        assert starts(theirs) == []
    assert (ours.ended, starts(ours)) == (None, [[0, 0]])
    assert sum(n for (_, verdict), n in ours.verdicts.items() if verdict == "undecodable") == 1


@shows("unexpected_fields")
@pytest.mark.parametrize("position", [1, 4])
def test_unexpected_fields(position: Any) -> None:
    message = msgspec.msgpack.decode(frames.outputs(0, start_wave=0))
    message += [None] * (9 - len(message))
    message[position] = [["r", [1]]] if position == 1 else [1, None, None]
    theirs, ours = both(on_output(frames.pack(message)))
    assert theirs.ended in {"AssertionError", "ValidationError"}
    assert starts(theirs) == []
    assert (ours.ended, starts(ours)) == (None, [[0, 0]])


@shows("topic_subscription")
def test_topic_subscription(with_notices: Any) -> None:
    theirs, ours = both(on_front(b"\x01topic"), LATER)
    assert (theirs.ended, starts(theirs)) == ("DecodeError", [])
    assert (ours.ended, starts(ours)) == (None, [[0, 0]])
    assert ours.verdicts["tap_subscribe", "accepted"] == 1


@shows("stray_on_back_publish")
@pytest.mark.parametrize("frame", [b"hello", UNSUBSCRIBE])
def test_stray_before_ready(frame: bytes) -> None:
    subscribe = Stimulus(BACK, SUBSCRIBE, "engine subscribes")
    # After an unsubscription one engine is missing again.
    again = [subscribe] if frame == UNSUBSCRIBE else []
    theirs, ours = both(subscribe, Stimulus(BACK, frame, ""), subscribe, *again, ready=False)
    assert (theirs.ended, theirs.sent_at) == ("returned", [])
    assert (ours.ended, to_engines(all_sent(ours))) == (None, [(b"READY",)])


@shows("unknown_engine_is_dropped")
@pytest.mark.parametrize("which", ["0.10.2", "0.16.0", "0.26.0", "0.27.0", generations.INSTALLED])
def test_report_of_an_unknown_engine(which: str) -> None:
    theirs, ours = both(on_output(frames.report(2, 5, 5)), which=which)
    assert theirs.ended == ("IndexError" if which in {"0.10.2", "0.16.0", "0.26.0"} else None)
    assert (ours.ended, ours.verdicts["back_output", "index_out_of_range"]) == (None, 1)
    assert all(row in (EMPTY, EMPTY[:2]) for row in counts(ours)[-1])


@shows("unknown_engine_moves_nothing")
def test_wave_message_of_an_unknown_engine() -> None:
    stats = frames.stats(1, 1, 0.0, wave=0, step=1)
    theirs, ours = both(on_output(frames.outputs(2, scheduler_stats=stats, wave_complete=4)))
    assert (waves(theirs), waves(ours)) == ([], [])
    theirs, ours = both(on_output(frames.outputs(2, wave_complete=4)))
    assert (waves(theirs), waves(ours)) == ([(5, False)], [])
    assert ours.verdicts["back_output", "index_out_of_range"] == 1


@shows("far_wave_needs_a_second_witness")
def test_wave_far_ahead() -> None:
    for second in (
        on_output(frames.outputs(1, start_wave=57)),
        on_output(frames.outputs(0, start_wave=57), after=1_000),
        on_output(frames.report(1, 1, 1, wave=57)),
    ):
        theirs, ours = both(on_output(frames.outputs(0, start_wave=57)), second)
        assert waves(theirs)[0] == waves(ours)[0] == (57, True)
    theirs, ours = both(on_output(frames.outputs(0, start_wave=57)), on_output(frames.outputs(0, start_wave=0), 10))
    assert (waves(theirs), waves(ours)) == ([(57, True)], [(0, True)])
    last = 2**32 - 1
    theirs, ours = both(*[on_output(frames.outputs(engine, wave_complete=last)) for engine in (0, 1)])
    assert (waves(theirs), waves(ours)) == ([(last + 1, False)], [])


@shows("negative_numbers")
def test_negative_numbers(with_notices: Any) -> None:
    theirs, ours = both(on_output(frames.report(-1, 3, 4, 0.5)))
    assert (counts(theirs)[-1], counts(ours)[-1]) == ([EMPTY, [3, 4, 0.5]], [EMPTY, EMPTY])
    theirs, ours = both(on_output(frames.report(0, -3, 4, 0.5)))
    assert (counts(theirs)[-1], counts(ours)[-1]) == ([[-3, 4, 0.5], EMPTY], [[0, 4, 0.5], EMPTY])
    theirs, ours = both(on_front(frames.notice(0, -1)))
    assert (starts(theirs), starts(ours)) == ([[0, None]], [])


@shows("early_report_is_kept")
def test_report_before_scale() -> None:
    early = [Stimulus(BACK, SUBSCRIBE, "a new engine subscribes"), on_output(frames.report(2, 3, 4, 0.5))]
    theirs, ours = both(*early, on_front(frames.scale(3)))
    assert (counts(theirs)[-1], counts(ours)[-1]) == ([EMPTY] * 3, [EMPTY, EMPTY, [3, 4, 0.5]])


@shows("start_after_a_connection_made_again")
def test_subscription_after_one_that_ended() -> None:
    again = [Stimulus(BACK, UNSUBSCRIBE, "an engine's link ends"), Stimulus(BACK, SUBSCRIBE, "and is made again")]
    theirs, ours = both(*again, on_output(frames.outputs(0, wave_complete=0)))
    assert to_engines(all_sent(theirs)) == to_engines(all_sent(ours)) == [(b"READY",)] * 2
    assert theirs.mending == []
    assert [msgspec.msgpack.decode(frame) for _, frame in ours.mending] == [[0, None], [1, None]]


@shows("scale_out_of_range")
@pytest.mark.parametrize(("count", "left"), [(0, 0), (-1, 1), (16_385, 16_385), ("two", None), (None, None)])
def test_scale_out_of_range(count: int, left: int) -> None:
    theirs, ours = both(on_front(frames.scale(count)), on_output(frames.outputs(0, start_wave=0), after=QUIET_MS))
    if left is None:
        assert theirs.ended == "TypeError"
    else:
        assert len(counts(theirs)[-1]) == left
    assert (ours.ended, counts(ours)[-1], starts(ours)) == (None, [EMPTY, EMPTY], [[0, 0]])


@shows("scale_is_published")
def test_scale_is_published() -> None:
    third = Stimulus(BACK, SUBSCRIBE, "a third engine subscribes")
    theirs, ours = both(third, on_front(frames.scale(3), after=QUIET_MS))
    widths = [[(at - QUIET_MS, len(c)) for at, c in zip(load_times(o), counts(o), strict=True)] for o in (theirs, ours)]
    their_first, our_first = (next(at for at, width in seen if width == 3) for seen in widths)
    # vLLM's heartbeat began 50 ms after READY, and comes 5 s later each time.
    assert (their_first, our_first) == (4050, 50)


@shows("scale_changes_the_whole_step")
def test_scale_while_a_whole_step_waits() -> None:
    reports = [frames.report(0, 1, 1, step=1), frames.report(1, 2, 2, step=1), frames.report(0, 3, 3, step=2)]
    # A load has just been published, so that the snapshot has to wait.
    first = on_output(frames.report(1, 9, 9), after=QUIET_MS)
    third = Stimulus(BACK, SUBSCRIBE, "a third engine subscribes")
    scaled = [*map(on_output, reports[1:]), on_front(frames.scale(3))]
    theirs, ours = both(third, first, on_output(reports[0], 60), *scaled)
    whole = [[1, 1, 0.0], [2, 2, 0.0]]
    now = [[3, 3, 0.0], [2, 2, 0.0], EMPTY]
    assert whole in counts(theirs)
    assert whole not in counts(ours)
    assert [*whole, EMPTY] in counts(ours)
    assert counts(theirs)[-1] == counts(ours)[-1] == now


@shows("scale_waits_for_its_engines")
def test_scale_waits_for_its_engines() -> None:
    subscribe = Stimulus(BACK, SUBSCRIBE, "engine subscribes")
    theirs, ours = both(on_front(frames.scale(3), QUIET_MS))
    assert (len(counts(theirs)[-1]), len(counts(ours)[-1])) == (3, 2)
    theirs, ours = both(on_front(frames.scale(3)), replace(subscribe, after=30_000))
    assert (len(counts(theirs)[-1]), len(counts(ours)[-1])) == (3, 3)
    theirs, ours = both(on_front(frames.scale(3)), replace(subscribe, after=30_001))
    assert (len(counts(theirs)[-1]), len(counts(ours)[-1])) == (3, 2)
    theirs, ours = both(on_front(frames.scale(1)), subscribe, subscribe, ready=False)  # no difference
    assert to_engines(all_sent(theirs)) == to_engines(all_sent(ours)) == [(b"READY",)]
    assert (len(counts(theirs)[-1]), len(counts(ours)[-1])) == (1, 1)


@shows("restart_opens_steps_again")
def test_restart_opens_steps_again() -> None:
    def step(number: int, load: int) -> Any:
        return [on_output(frames.report(engine, load, load, step=number)) for engine in range(ENGINES)]

    after_restart = [step(0, 5)[0], *step(0, 5)[1:], *step(1, 6), *step(2, 7)[:1]]
    after_restart[0] = on_output(after_restart[0].frame, after=QUIET_MS)
    theirs, ours = both(*step(500, 1), *after_restart)
    last = [[7, 7, 0.0], [6, 6, 0.0]]
    assert counts(theirs)[-1] == counts(ours)[-1] == last
    whole = [[6, 6, 0.0], [6, 6, 0.0]]
    assert whole not in counts(theirs)
    assert whole in counts(ours)


@shows("dense_steps_before_0_27")
@pytest.mark.parametrize(
    ("which", "snapshot"), [("0.16.0", True), ("0.26.0", True), ("0.27.0", False), ("0.31.0", False)]
)
def test_dense_steps(which: str, snapshot: Any) -> None:
    reports = [frames.report(0, 1, 1, step=1), frames.report(1, 2, 2, step=1), frames.report(0, 3, 3, step=2)]
    # All at one moment, and just after a publication: nothing is due meanwhile.
    script = [on_output(frames.report(1, 9, 9), QUIET_MS), on_output(reports[0], 20), *map(on_output, reports[1:])]
    theirs, ours = both(*script, which=which, wave_coordination=False)
    whole = [[1, 1], [2, 2]]
    assert (whole in [[row[:2] for row in c] for c in counts(theirs)]) is snapshot
    assert whole not in [[row[:2] for row in c] for c in counts(ours)]
    assert counts(theirs)[-1] == counts(ours)[-1]


@shows("announcements_of_one_turn")
@pytest.mark.parametrize("which", ["0.16.0", "0.28.0"])
def test_announcements_of_one_turn(which: str) -> None:
    script = [on_front(frames.notice(0, 0), 10), on_output(frames.outputs(0, wave_complete=0))]
    theirs, ours = both(*script, which=which, together=True)
    assert (waves(theirs), waves(ours)) == ([(1, False)], [(0, True), (1, False)])
    assert starts(theirs) == starts(ours) == [[0, 0]]


@shows("publication_under_load")
def test_publication_under_load() -> None:
    flow = [on_output(frames.report(0, n, n, step=1), after=10) for n in range(1, 201)]
    theirs, ours = both(*flow)
    end = 2_000
    assert [at for at in load_times(theirs) if at < end] == []
    during = [at for at in load_times(ours) if at < end]
    assert len(during) >= 18
    assert max(b - a for a, b in itertools.pairwise(during)) <= 110


def test_a_load_after_a_notice_comes_when_that_of_vllm_does(with_notices: Any) -> None:
    """No difference: a front-end is not told "not running" while the engines are still waking."""
    first = on_output(frames.report(0, 1, 1), QUIET_MS)
    theirs, ours = both(first, on_front(frames.notice(0, 0), 8), on_front(frames.notice(1, 0), 30))
    due = QUIET_MS + 8 + 30 + 50
    assert [next(at for at in load_times(outcome) if at > QUIET_MS) for outcome in (theirs, ours)] == [due, due]
    heartbeat = 5_050  # after READY and the first load
    theirs, ours = both(on_front(frames.notice(0, 0), heartbeat - 8))
    assert [next(at for at in load_times(outcome) if at >= heartbeat) for outcome in (theirs, ours)] == [5_092, 5_092]


@shows("publication_under_load")
def test_publication_under_notices(with_notices: Any) -> None:
    flow = [on_front(frames.notice(0, 0), 10) for _ in range(200)]
    reports = [on_output(frames.report(0, 1, 1)), *flow[:1], on_output(frames.report(0, 2, 2)), *flow[1:]]
    theirs, ours = both(on_output(frames.report(0, 3, 3), QUIET_MS), *reports)
    during = range(QUIET_MS + 1, QUIET_MS + 2_000)
    assert [at for at in load_times(theirs) if at in during] == []
    assert next(at for at in load_times(ours) if at in during) <= QUIET_MS + 150


@shows("wall_clock")
def test_wall_clock_set_back() -> None:
    # vLLM's loop computes how long to wait from wall-clock time; the hour is up only long after the script has ended.
    changes = [on_output(frames.report(0, 1, 1, step=1), QUIET_MS), on_output(frames.report(0, 2, 2, step=2), 200)]
    theirs, ours = both(*changes, wall_step=(QUIET_MS + 180, -3_600_000))
    assert [c for c in counts(theirs) if c[0][0] == 2] == []
    assert counts(ours)[-1] == [[2, 2, 0.0], EMPTY]


@shows("held_before_ready")
def test_held_before_ready(with_notices: Any) -> None:
    subscribe = Stimulus(BACK, SUBSCRIBE, "engine subscribes")
    completions = [on_output(frames.outputs(engine, wave_complete=n)) for engine, n in ((0, 0), (1, 1), (0, 2))]
    theirs, ours = both(*completions, subscribe, subscribe, ready=False)
    assert (waves(theirs), waves(ours)) == ([(1, False), (2, False), (3, False)], [(2, False), (3, False)])
