"""What the Grafana board shows, and by which queries; board.py puts it into Grafana's words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

OURS = '{namespace=~"$namespace",instance=~"$instance"}'


class Kind(Enum):
    """How a panel shows its numbers."""

    LINES = auto()
    NUMBER = auto()
    BARS = auto()
    BAND = auto()


@dataclass(frozen=True)
class Query:
    """`text` is PromQL in which `@` stands for the selection of deployments."""

    text: str
    legend: str = "__auto"

    @property
    def promql(self) -> str:
        """As it stands on the board."""
        return self.text.replace("@", OURS)


@dataclass(frozen=True)
class Panel:
    """One panel: what it tells, and the queries behind it."""

    title: str
    about: str
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    unit: str = "short"
    width: int = 8


def _rate(counter: str) -> str:
    return f"rate({counter}@[$__rate_interval])"


def _quantile(q: float, histogram: str) -> str:
    return f"histogram_quantile({q}, sum by (instance, le) ({_rate(f'{histogram}_bucket')}))"


_REQUESTS = "(dp_coordinator_engine_waiting@ + dp_coordinator_engine_running@)"
NOW = (
    Panel(
        "Deployment",
        "What it does, as far as anything shows it. docs/protocol.md says what each word needs as evidence.",
        (Query("dp_coordinator_state@ == 1", "{{dp_coordinator_state}}"),),
        Kind.NUMBER,
        width=6,
    ),
    Panel(
        "Alarms",
        "How many stand.",
        (Query("sum by (instance) (dp_coordinator_alarm@)", "alarms"),),
        Kind.NUMBER,
        width=4,
    ),
    Panel(
        "Wave",
        "The wave that runs, or that the next one will be.",
        (Query("dp_coordinator_current_wave@", "wave"),),
        Kind.NUMBER,
        width=4,
    ),
    Panel(
        "Engines",
        "Distinct engines that are subscribed, and how many are expected.",
        (Query("dp_coordinator_engines_subscribed@", "subscribed"), Query("dp_coordinator_engine_count@", "expected")),
        Kind.NUMBER,
        width=6,
    ),
    Panel(
        "Front-ends",
        "API servers that are subscribed.",
        (Query("dp_coordinator_front_ends@", "front-ends"),),
        Kind.NUMBER,
        width=4,
    ),
)
ALARMS = (
    Panel(
        "Alarms by kind",
        "docs/operating.md says what each means and asks for.",
        (Query("dp_coordinator_alarm@", "{{kind}}"),),
        Kind.BAND,
        width=14,
    ),
    Panel(
        "Ranks that are there",
        "0 once the connection of a rank has ended.",
        (Query("dp_coordinator_engine_up@", "rank {{engine}}"),),
        Kind.BAND,
        width=10,
    ),
)
LOAD = (
    Panel(
        "Requests",
        "All ranks together, as they last reported.",
        (
            Query("sum by (instance) (dp_coordinator_engine_waiting@)", "waiting"),
            Query("sum by (instance) (dp_coordinator_engine_running@)", "running"),
        ),
        width=8,
    ),
    Panel(
        "Waiting, by rank",
        "The longest queues. Far more at one rank than at the others is an alarm.",
        (Query("topk(16, dp_coordinator_engine_waiting@)", "rank {{engine}}"),),
        width=8,
    ),
    Panel(
        "Running, by rank",
        "The busiest ranks.",
        (Query("topk(16, dp_coordinator_engine_running@)", "rank {{engine}}"),),
        width=8,
    ),
    Panel(
        "KV cache in use, by rank",
        "Share of each rank's cache.",
        (Query("topk(16, dp_coordinator_engine_kv_cache_usage@)", "rank {{engine}}"),),
        Kind.BARS,
        "percentunit",
        width=8,
    ),
    Panel(
        "Imbalance",
        "The fullest rank's requests over the mean of all.",
        (
            Query(
                f"max by (instance) {_REQUESTS} / clamp_min(avg by (instance) {_REQUESTS}, 1)",
                "fullest / mean",
            ),
        ),
        width=8,
    ),
    Panel(
        "Age of the last report, by rank",
        "Engines report when their counts change: an idle one may be silent for long.",
        (Query("topk(16, dp_coordinator_engine_report_age_seconds@)", "rank {{engine}}"),),
        unit="s",
        width=8,
    ),
)
WAVES = (
    Panel(
        "Waves ended",
        "A minute.",
        (Query("60 * " + _rate("dp_coordinator_wave_duration_seconds_count"), "waves"),),
        width=8,
    ),
    Panel(
        "How long waves last",
        "From the ask, or the start, to the end.",
        tuple(
            Query(
                _quantile(q, "dp_coordinator_wave_duration_seconds"),
                f"p{int(q * 100)}",
            )
            for q in (0.5, 0.99)
        ),
        unit="s",
        width=8,
    ),
    Panel(
        "START broadcasts, by who caused them",
        "A minute.",
        (Query("60 * " + _rate("dp_coordinator_start_broadcasts_total"), "{{cause}}"),),
        width=8,
    ),
)
COORDINATOR = (
    Panel(
        "Load publications",
        "A second; ten, while load changes.",
        (Query(_rate("dp_coordinator_loads_published_total"), "published"),),
        width=6,
    ),
    Panel(
        "Lateness of publications",
        "p99. Late ones make front-ends route by old numbers.",
        (
            Query(
                _quantile(0.99, "dp_coordinator_publication_lateness_seconds"),
                "p99",
            ),
        ),
        unit="s",
        width=6,
    ),
    Panel(
        "Frames, by what became of them",
        "A second. What is not accepted was dropped.",
        (Query("sum by (instance, verdict) (" + _rate("dp_coordinator_frames_total") + ")", "{{verdict}}"),),
        width=6,
    ),
    Panel(
        "Age of the loop's last turn",
        "It turns at least once a second.",
        (Query("dp_coordinator_loop_turn_age_seconds@", "age"),),
        unit="s",
        width=6,
    ),
    Panel(
        "Restarts",
        "How often the coordinator came back on its journal.",
        (Query("dp_coordinator_restarts@", "restarts"), Query("dp_coordinator_recovering@", "recovering now")),
        width=8,
    ),
    Panel(
        "Connections",
        "By socket, and by what they are.",
        (Query("dp_coordinator_peers@", "{{socket}} {{kind}}"),),
        width=8,
    ),
    Panel("Viewers", "Pages that are open.", (Query("dp_coordinator_viewers@", "viewers"),), width=8),
)
ROWS = {"Now": NOW, "Alarms": ALARMS, "Load": LOAD, "Waves": WAVES, "The coordinator": COORDINATOR}


def queries(**chosen: str) -> list[str]:
    """Every query of the board; `namespace`, `instance` and `interval` as Grafana would put them in, where given."""
    found = [query.promql for panels in ROWS.values() for panel in panels for query in panel.queries]
    for name, value in chosen.items():
        variable = "$__rate_interval" if name == "interval" else f"${name}"
        found = [promql.replace(variable, value) for promql in found]
    return found
