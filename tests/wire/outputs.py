"""What is in a frame from back_output, as one list."""

from __future__ import annotations

from collections.abc import Sequence

from dp_coordinator.core.events import EngineStatsReported, Event
from dp_coordinator.wire.coordinator import read_outputs


def engine_events(frame: bytes) -> Sequence[Event]:
    """Counts first, then at most one wave event. Raises as `read_outputs` does."""
    reports: list[EngineStatsReported] = []
    event = read_outputs(frame, reports)
    return reports if event is None else [*reports, event]
