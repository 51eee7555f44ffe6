"""Real vLLM's recorded runs, through wire and core without sockets: the same messages must come out, byte for byte.

In runs on our own coordinator it was killed now and then: there the core comes back with what it wrote down last.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from dp_coordinator.core.effects import BroadcastStartWave, Effect, PublishLoad, PublishWaveState
from dp_coordinator.core.events import Event
from dp_coordinator.wire.coordinator import encode_load, encode_start, encode_wave_state, front_end_event
from tests.core.connections import engine_subscribes, engine_unsubscribes, front_end_subscribes, front_end_unsubscribes
from tests.core.driver import Driver
from tests.wire.outputs import engine_events
from tests.wire.recordings import recordings, start_of

SUBSCRIPTIONS: dict[str, Callable[[], Event]] = {
    "engine_subscribe": engine_subscribes,
    "engine_unsubscribe": engine_unsubscribes,
    "front_subscribe": front_end_subscribes,
    "front_unsubscribe": front_end_unsubscribes,
}


def play(recording: Any) -> Any:
    arguments = recording.arguments
    driver = Driver(
        arguments["engine_count"],
        recording.version,
        ready=False,
        wave_coordination=arguments["enable_wave_coordination"],
    )
    events: Sequence[Event]
    for message in recording.messages:
        if message.type == "proc_killed":
            driver.advance_to(message.t)
            driver.restart()
        if message.dir != "recv":
            continue
        if message.type in SUBSCRIPTIONS:
            events = [SUBSCRIPTIONS[message.type]()]
        elif message.role == "back_pull":
            events = engine_events(message.frames[0])
        else:
            events = [front_end_event(message.frames[0], driver.core.engine_count)]
        for event in events:
            driver.feed(event, at=message.t)
    driver.advance(1)
    return driver


def sent(driver: Driver, kind: type[Effect]) -> list[Any]:
    return [effect for _, effect in driver.effects if isinstance(effect, kind)]


@pytest.mark.parametrize("name", recordings())
def test_starts_and_announcements_are_those_of_vllm(name: str) -> None:
    recording = recordings()[name]
    driver = play(recording)
    ours = [tuple(encode_start(e.wave, e.exclude_engine_index)) for e in sent(driver, BroadcastStartWave)]
    assert [start_of(frames) for frames in ours] == recording.starts()
    theirs = [m.frames for m in recording.sent("START_DP_WAVE:exclude_int")]
    assert [f for f in theirs if f not in ours] == []
    announced = [encode_wave_state(e.current_wave, e.engines_running) for e in sent(driver, PublishWaveState)]
    assert announced == [m.frames[0] for m in recording.sent("front_publish_wave_state")]


@pytest.mark.parametrize("name", recordings())
def test_loads_before_each_pause_are_those_of_vllm(name: str) -> None:
    """While reports pour in, which moment is published depends on timing; once they stop, both say the same."""
    recording = recordings()[name]
    driver = play(recording)
    ours = [(at, e) for at, e in driver.effects if isinstance(e, PublishLoad)]
    messages = [m for m in recording.messages if m.type != "front_publish_counts"]
    compared = 0
    for message, following in itertools.pairwise(messages):
        if message.t < ours[0][0] or following.t - message.t < 0.6:
            continue
        theirs = [m for m in recording.sent("front_publish_counts") if m.t < following.t][-1]
        load = [e for at, e in ours if at < following.t][-1]
        frame = encode_load(load.counts, load.current_wave, load.engines_running, driver.core.dialect)
        assert frame == theirs.frames[0], (message.t, msgspec.msgpack.decode(theirs.frames[0]))
        compared += 1
    assert compared >= 3
