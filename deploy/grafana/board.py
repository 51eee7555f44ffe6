"""The Grafana board: `make monitoring` writes it to dp-coordinator.json, beside this file.

Every query is asked of a real Prometheus in tests/deploy, which scraped a real coordinator.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TypeAlias

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueTextMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableOption, VariableRefresh

from deploy.grafana.panels import ROWS, Kind, Panel, Query

FILE = Path(__file__).parent / "dp-coordinator.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${DS_PROMETHEUS}")
HEIGHT = {Kind.NUMBER: 4, Kind.LINES: 8, Kind.BARS: 8, Kind.BAND: 10}
"""Of a panel, in Grafana's rows."""

Built: TypeAlias = timeseries.Panel | stat.Panel | bargauge.Panel | statetimeline.Panel


def _shown_as(kind: Kind) -> Built:
    newest = ReduceDataOptions().calcs(["lastNotNull"])
    match kind:
        case Kind.LINES:
            return timeseries.Panel().fill_opacity(5).min(0)
        case Kind.NUMBER:
            return stat.Panel().reduce_options(newest).text_mode(BigValueTextMode.VALUE_AND_NAME)
        case Kind.BARS:
            return bargauge.Panel().reduce_options(newest).min(0).max(1)
        case Kind.BAND:
            return statetimeline.Panel().min(0).max(1)


def _query(query: Query, ref: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.promql).legend_format(query.legend).ref_id(ref).datasource(SOURCE)


def _panel(panel: Panel, number: int) -> Built:
    built = _shown_as(panel.kind).id(number).title(panel.title).description(panel.about).datasource(SOURCE)
    built = built.unit(panel.unit).height(HEIGHT[panel.kind]).span(panel.width)
    for ref, query in zip("ABCDEF", panel.queries, strict=False):
        built = built.with_target(_query(query, ref))
    return built


def _variable(name: str, of: str) -> dashboard.QueryVariable:
    """A label to choose by. A Prometheus that sets none, as the compose stack's, is chosen by `All`."""
    everything = VariableOption(text="All", value="$__all", selected=True)
    variable = dashboard.QueryVariable(name).query(f"label_values({of}, {name})").datasource(SOURCE)
    variable = variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).current(everything)
    return variable.include_all(True).all_value(".*").multi(True)


def board() -> str:
    """The board as JSON."""
    made = (
        dashboard.Dashboard("DP coordinator")
        .uid("dp-coordinator")
        .tags(["vllm", "data-parallel"])
        .refresh("10s")
        .time("now-30m", "now")
        .with_variable(dashboard.DatasourceVariable("DS_PROMETHEUS").type("prometheus").label("Prometheus"))
        .with_variable(_variable("namespace", "dp_coordinator_build_info"))
        .with_variable(_variable("instance", 'dp_coordinator_build_info{namespace=~"$namespace"}'))
    )
    number = count(1)
    for title, panels in ROWS.items():
        made = made.with_row(dashboard.Row(title).id(next(number)))
        for panel in panels:
            made = made.with_panel(_panel(panel, next(number)))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


if __name__ == "__main__":
    FILE.write_text(board())
