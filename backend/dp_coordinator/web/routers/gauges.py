"""Load as metrics under other programs' names, for what already reads those.

`llm_d_epp_*` are the averages of llm-d's Endpoint Picker (its metrics reference): what scales by them, or picks among
clusters, can scrape them here. `vllm:*` are an engine's own (vllm/v1/metrics/loggers.py), only for those who ask:
beside the engines' own they would count everything twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.metrics_core import Metric

from dp_coordinator.messages_loads import RankLoad
from dp_coordinator.web.routers.weights import Advice

Told: TypeAlias = tuple[str, str, list[int | None] | list[float | None]]
"""A metric's name, its help, and a value of each rank."""
POOL = "dp-coordinator"
"""What stands for the name of the pool."""


def averages(loads: Sequence[RankLoad], advice: Sequence[Advice]) -> Iterator[Metric]:
    """Over the ranks that should get requests and whose load is known; none where there are none."""
    able = [load for load, given in zip(loads, advice, strict=True) if not given.avoid]
    told: list[Told] = [
        ("queue_size", "Requests waiting, mean over the ranks that can take some.", [load.waiting for load in able]),
        ("running_requests", "Requests running, mean over these ranks.", [load.running for load in able]),
        ("kv_cache_utilization", "Used share of the kv cache, 0 to 1, mean.", [load.kv_cache_usage for load in able]),
    ]
    for metric, help_, values in told:
        known = [value for value in values if value is not None]
        family = Gauge(f"llm_d_epp_average_{metric}", help_, labels=("name",))
        if known:
            family.add_metric((POOL,), sum(known) / len(known))
        yield family
    ready = Gauge("llm_d_epp_ready_endpoints", "Ranks that can take requests.", labels=("name",))
    ready.add_metric((POOL,), len(able))
    yield ready


def of_vllm(loads: Sequence[RankLoad], model: str) -> Iterator[Metric]:
    """Each rank's load as vLLM would show it, with `model` as model_name."""
    told: list[Told] = [
        ("num_requests_waiting", "Requests waiting.", [load.waiting for load in loads]),
        ("num_requests_running", "Requests running.", [load.running for load in loads]),
        ("kv_cache_usage_perc", "Used share of the kv cache, 0 to 1.", [load.kv_cache_usage for load in loads]),
    ]
    for name, help_, values in told:
        family = Gauge(f"vllm:{name}", help_, labels=("model_name", "engine"))
        for rank, value in enumerate(values):
            if value is not None:
                family.add_metric((model, str(rank)), value)
        yield family
