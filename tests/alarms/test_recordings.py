"""Real vLLM's recorded runs, looked at by the detector: traffic, pauses, a coordinator that was killed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dp_coordinator.core.events import Event
from dp_coordinator.wire.coordinator import front_end_event
from tests.alarms.monitored_core import MonitoredCore
from tests.core.test_recordings import SUBSCRIPTIONS
from tests.wire.outputs import engine_events
from tests.wire.recordings import recordings

TRUE_ALARMS = {
    # A request was sent while the engines were paused on purpose; they discarded its START until they were resumed.
    "v0.32.0_moe_dp4_with_pause_resume": ["asked_not_stepping"],
    # The deployment was shut down before the recording ended, front-end first.
    "v0.32.0_coordinator_restarted_in_place": ["front_end_gone", "engine_gone"],
    "v0.33.0_moe_1api": ["front_end_gone"],
}


@pytest.mark.parametrize("name", recordings())
def test_nothing_is_raised_that_was_not_so(name: str) -> None:
    recording = recordings()[name]
    arguments = recording.arguments
    monitored = MonitoredCore(
        arguments["engine_count"],
        recording.version,
        ready=False,
        front_ends=0,
        wave_coordination=arguments["enable_wave_coordination"],
    )
    events: Sequence[Event]
    for message in recording.messages:
        if message.t > monitored.now:
            monitored.wait(message.t - monitored.now)
        if message.type == "proc_killed":
            monitored.driver.restart()
        if message.dir != "recv":
            continue
        if message.type in SUBSCRIPTIONS:
            events = [SUBSCRIPTIONS[message.type]()]
        elif message.role == "back_pull":
            events = engine_events(message.frames[0])
        else:
            events = [front_end_event(message.frames[0], monitored.driver.core.engine_count)]
        for event in events:
            monitored.driver.feed(event)
    monitored.wait(1)
    assert [kind for _, kind in monitored.raised] == TRUE_ALARMS.get(name, [])
    assert monitored.now > 40
