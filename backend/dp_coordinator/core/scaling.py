"""Reports of ranks beyond the engine count, while a deployment changes its size.

New engines subscribe, and may report, before SCALE_ELASTIC_EP tells of them; removed ones may report after it, for
front-ends and engines have channels of their own (vllm/v1/engine/core_client.py, `scale_elastic_ep`, vLLM 0.10.2 on).
Neither is a fault. vLLM's coordinator drops both (from 0.27 on; before it died of them), and publishes a busy new rank
as idle until its counts change.
"""

from __future__ import annotations

from collections.abc import Sequence

from dp_coordinator.core import peers
from dp_coordinator.core.events import EngineStatsReported
from dp_coordinator.core.state import CoreState

EARLY_KEPT = 1024
"""Ranks whose reports are kept."""
LEAVING = 30.0
"""Seconds in which reports of removed ranks are passed over."""


def strangers(state: CoreState, reports: Sequence[EngineStatsReported], now: float) -> list[EngineStatsReported]:
    """Of reports beyond the engine count, those of ranks that neither leave nor join: they are none of this deployment.

    A rank joins when more engines are there than there should be; its newest report is kept until it is told of.
    """
    if not reports:
        return []
    scaled = state.scaled
    joining = state.ready and peers.engines(state.peers) > state.engine_count
    unknown: list[EngineStatsReported] = []
    for report in reports:
        rank = report.engine_index
        if 0 <= rank < scaled.before and now < scaled.at + LEAVING:
            continue
        if joining and (rank in scaled.early or len(scaled.early) < EARLY_KEPT):
            scaled.early[rank] = report
        else:
            unknown.append(report)
    return unknown


def resized(state: CoreState, before: int, now: float) -> list[EngineStatsReported]:
    """The engine count is another one now. Returns what the ranks that came with it had reported."""
    scaled, count = state.scaled, state.engine_count
    if count < before:
        scaled.before, scaled.at = before, now
    elif count > before:
        scaled.before = 0
    early, scaled.early = scaled.early, {}
    return [report for rank, report in sorted(early.items()) if rank < count]
