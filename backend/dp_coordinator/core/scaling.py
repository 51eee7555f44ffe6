"""Reports of ranks beyond the engine count, while a deployment changes its size.

New engines subscribe, and may report, before SCALE_ELASTIC_EP tells of them; removed ones may report after it, for
front-ends and engines have channels of their own (vllm/v1/engine/core_client.py, `scale_elastic_ep`, vLLM 0.10.2 on).
Neither is a fault. vLLM's coordinator drops both (from 0.27 on; before it died of them), and publishes a busy new rank
as idle until its counts change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dp_coordinator.core import whose
from dp_coordinator.core.effects import Reject
from dp_coordinator.core.events import EngineStatsReported
from dp_coordinator.core.state import CoreState

MAX_ENGINES = 16_384
"""More than any deployment; a SCALE message beyond it is a mistake, not a wish."""
AWAITED = 30.0
"""Seconds that SCALE waits for its engines' subscriptions, which come through channels of their own."""
EARLY_KEPT = 1024
"""Ranks whose reports are kept."""
LEAVING = 30.0
"""Seconds in which reports of removed ranks are passed over."""


def refusal(state: CoreState, engine_count: int, now: float) -> Reject | None:
    """Why SCALE cannot be followed now; None when it can. Engines are there, or have been, before it tells of them.

    So one that says more than there are is a stranger's, or has overtaken their subscriptions: it waits for those. And
    nobody scales what has not begun: before READY it waits, as in vLLM, where it is not read before.
    """
    if not 1 <= engine_count <= MAX_ENGINES:
        detail = f"cannot scale to {engine_count} engines: 1 to {MAX_ENGINES} are possible"
        return Reject("engine_count_out_of_range", detail)
    there = whose.engines(state.peers)
    if state.ready and engine_count <= max(there, state.engine_count):
        state.scaled.awaited = None
        return None
    state.scaled.awaited = engine_count, now
    detail = f"SCALE to {engine_count} engines, but {there} have subscribed: it waits {AWAITED:g} s for the others"
    if not state.ready:
        detail = f"SCALE to {engine_count} engines before READY: it waits {AWAITED:g} s for that"
    return Reject("scale_too_early", detail)


def due(state: CoreState, now: float) -> int | None:
    """The engine count of a SCALE that has waited until its engines were there; None where there is none."""
    awaited = state.scaled.awaited
    if awaited is None or not state.ready or whose.engines(state.peers) < awaited[0]:
        return None
    state.scaled.awaited = None
    count, at = awaited
    return count if now <= at + AWAITED else None


def belongs(state: CoreState, engine: int, now: float) -> bool:
    """Whether there is such an engine: one of the deployment, or one that leaves it or joins it."""
    if engine < 0:
        return False
    if engine < state.engine_count:
        return True
    if engine < state.scaled.before and now < state.scaled.at + LEAVING:
        return True
    there = whose.engines(state.peers)  # of those that join, not all need have subscribed yet
    return state.ready and there > state.engine_count and engine < 2 * there


def strangers(state: CoreState, reports: Sequence[EngineStatsReported], now: float) -> list[EngineStatsReported]:
    """Of reports beyond the engine count, those of ranks that neither leave nor join: they are none of this deployment.

    A rank joins when more engines are there than there should be; its newest report is kept until it is told of.
    """
    if not reports:
        return []
    scaled = state.scaled
    joining = state.ready and whose.engines(state.peers) > state.engine_count
    unknown: list[EngineStatsReported] = []
    for report in reports:
        rank = report.engine_index
        if now < scaled.at + LEAVING and scaled.leaves(rank, _there_since(state, rank)):
            continue
        if joining and (rank in scaled.early or len(scaled.early) < EARLY_KEPT):
            scaled.early[rank] = report
        else:
            unknown.append(report)
    return unknown


def _there_since(state: CoreState, rank: int) -> float:
    """Since when a rank's connection is there: one that was removed may have been added again already."""
    there = whose.reporter(state.peers, rank)
    return -math.inf if there is None else there.since


def resized(state: CoreState, before: int, now: float) -> list[EngineStatsReported]:
    """The engine count is another one now. Returns what the ranks that came with it had reported.

    What those reported that come later is kept for their own SCALE.
    """
    scaled, count = state.scaled, state.engine_count
    if count < before:
        scaled.before, scaled.at = before, now
    elif count > before:
        scaled.before = 0
    early = scaled.early
    scaled.early = {rank: report for rank, report in early.items() if rank >= count >= before}
    return [report for rank, report in sorted(early.items()) if rank < count]
