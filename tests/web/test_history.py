from __future__ import annotations

from dp_coordinator.core.snapshot import Phase
from dp_coordinator.web.history import COARSE_SAMPLES, FINE_SAMPLES, Recorder
from dp_coordinator.web.views import WallClock
from tests.web.builders import snapshot


def test_ten_a_second_for_a_minute_and_one_a_second_for_an_hour() -> None:
    recorder, clock = Recorder(), WallClock()
    for tick in range(2 * 36_000):
        recorder.add(snapshot(waiting=tick), tick / 10)
    now = 7200.0
    whole = recorder.window(3600, now, clock)
    assert len(whole.at) == FINE_SAMPLES + COARSE_SAMPLES - 60
    assert whole.at == sorted(whole.at)
    assert len(recorder.window(30, now, clock).at) == 300
    assert whole.waiting[-1] == 2 * 36_000 - 1


def test_a_wave_shorter_than_a_second_stays_visible_in_the_coarse_part() -> None:
    recorder, clock = Recorder(), WallClock()
    for tick in range(1300):
        busy = tick == 5
        phase = Phase.RUNNING if busy else Phase.PAUSED
        recorder.add(snapshot(phase=phase, running=8 if busy else 0, waiting=None), tick / 10)
    seen = recorder.window(3600, 130.0, clock)
    assert seen.running[:3] == [8, 0, 0]
    assert seen.phase[:2] == ["running", "paused"]
    assert set(seen.waiting) == {None}  # never reported is not zero


def test_samples_that_come_too_fast_are_left_out() -> None:
    recorder = Recorder()
    for tick in range(1000):
        recorder.add(snapshot(), tick / 1000)
    assert len(recorder.window(60, 1.0, WallClock()).at) <= 20
