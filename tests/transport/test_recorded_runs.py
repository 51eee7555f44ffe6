"""Real vLLM's recorded runs, played over real sockets into a live coordinator, bring out what was recorded."""

from __future__ import annotations

from typing import Any

import pytest
import zmq

from dp_coordinator.core.events import WaveCompleted
from dp_coordinator.handle import DPCoordinator
from tests.transport.player import Player
from tests.wire.outputs import engine_events
from tests.wire.recordings import recordings


@pytest.mark.parametrize("name", recordings())
def test_recorded_run(name: str) -> None:
    recording = recordings()[name]
    arguments = recording.arguments
    options = {
        "engine_count": arguments["engine_count"],
        "wave_coordination": arguments["enable_wave_coordination"],
        "dialect": recording.version,
        "supervised": len(recording.incarnations) > 1,
    }
    with DPCoordinator(**options) as coordinator, zmq.Context() as context:
        player = Player(coordinator, context)
        try:
            player.play(recording)
            types = {m.type for m in recording.incarnations[-1].messages}
            reported = "engine_stats" in types and "front_unsubscribe" not in types
            announcements, _ = player.publications(recording.loads()[-1] if reported else None)
            assert player.starts() == recording.starts()
            assert announcements == recording.heard()
            check_rest(player, recording)
        finally:
            player.close()


def check_rest(player: Any, recording: Any) -> None:
    state = player.get("state")
    announcements = recording.announcements() or [(0, False)]
    assert (state["current_wave"], state["engines_running"]) == announcements[-1]
    assert state["dialect"] == recording.version
    rows = [[e["waiting"] or 0, e["running"] or 0, e["kv_cache_usage"] or 0.0] for e in state["engines"]]
    assert rows == recording.loads()[-1]
    assert state["restarts"] == len(recording.incarnations) - 1
    last = recording.incarnations[-1]
    reported = any(m.type == "engine_stats" for m in last.messages)
    assert (state["totals"]["waiting"] is not None) is reported
    complete = [m.frames[0] for m in last.messages if m.type == "engine_wave_complete"]
    ended = {e.wave for frame in complete for e in engine_events(frame) if isinstance(e, WaveCompleted)}
    completed = [w["number"] for w in player.get("waves")["waves"] if w["completed"]]
    assert completed == sorted(ended, reverse=True)
