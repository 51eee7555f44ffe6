"""The alert rules: `make monitoring` writes them as alerts.yml, and as a PrometheusRule for the operator.

Every kind of alarm has one, in the words of the alarm itself. What an alarm has to last, it has lasted before it
stands, so none waits here. tests/deploy runs them on a real Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dp_coordinator.alarms.kinds import TEXTS
from dp_coordinator.words import AlarmKind

FOLDER = Path(__file__).parent
FILE = FOLDER / "alerts.yml"
OPERATOR_FILE = FOLDER / "prometheusrule.yaml"
WRITTEN = "# Written by `make monitoring` from the kinds of alarms: change deploy/prometheus/rules.py, not this.\n"
FORGOTTEN = "15m"
"""For how long a coordinator that is scraped no more is missed."""

Rule = dict[str, Any]


def _name(kind: AlarmKind) -> str:
    return "DPCoordinator" + "".join(word.capitalize() for word in kind.value.split("_"))


def _ranks(kind: AlarmKind) -> str:
    """A template: `: rank 3, 4`, or nothing where the alarm names no rank."""
    query = f'printf `dp_coordinator_engine_alarm{{kind="{kind}",instance=%q}}` $labels.instance'
    listed = "{{ if $i }},{{ else }}: rank{{ end }} {{ $rank.Labels.engine }}"
    return f'{{{{ range $i, $rank := {query} | query | sortByLabel "engine" }}}}{listed}{{{{ end }}}}'


def _alarm(kind: AlarmKind) -> Rule:
    meaning, remedy = TEXTS[kind]
    of_kind = f'{{kind="{kind}"}}'
    return {
        "alert": _name(kind),
        "expr": f"dp_coordinator_alarm{of_kind} + dp_coordinator_alarm_critical{of_kind} > 0",
        "labels": {"severity": "{{ if gt $value 1.0 }}critical{{ else }}warning{{ end }}"},
        "annotations": {
            "summary": f"{kind.value.replace('_', ' ').capitalize()} at {{{{ $labels.instance }}}}{_ranks(kind)}",
            "description": f"{meaning} {remedy}",
        },
    }


def _beside_alarms() -> Iterator[Rule]:
    """What a coordinator cannot say of itself, or says in a number of its own."""
    yield {
        "alert": "DPCoordinatorAbsent",
        "expr": f"last_over_time(dp_coordinator_build_info[{FORGOTTEN}]) unless dp_coordinator_build_info",
        "for": "30s",
        "labels": {"severity": "critical"},
        "annotations": {
            "summary": "No metrics from the coordinator at {{ $labels.instance }}",
            "description": "It was scraped, and is no more: its process has ended, or cannot be reached. "
            "Requests under way go on; paused engines are woken by nobody.",
        },
    }
    yield {
        "alert": "DPCoordinatorRestarted",
        "expr": "changes(dp_coordinator_restarts[15m]) > 0",
        "labels": {"severity": "warning"},
        "annotations": {
            "summary": "The coordinator at {{ $labels.instance }} died and came back",
            "description": "It goes on with its wave. That it died is a defect, in it or in the machine: "
            "the event coordinator_started says how it ended.",
        },
    }
    yield {
        "alert": "DPCoordinatorNotReady",
        "expr": "dp_coordinator_ready == 0",
        "for": "15m",
        "labels": {"severity": "warning"},
        "annotations": {
            "summary": "Engines are missing at {{ $labels.instance }}",
            "description": "For a quarter of an hour not every expected engine has been there, so none was sent READY (a "
            "page on sources: nobody answers). Look at the engines that do not start, and at the addresses in use.",
        },
    }


def groups() -> list[dict[str, Any]]:
    """The rules as Prometheus reads them."""
    return [
        {"name": "dp-coordinator-alarms", "rules": [_alarm(kind) for kind in AlarmKind]},
        {"name": "dp-coordinator", "rules": list(_beside_alarms())},
    ]


def _yaml(what: Any) -> str:
    text: str = yaml.safe_dump(what, sort_keys=False, width=120)
    return WRITTEN + text


def alerts() -> str:
    """The file for a Prometheus."""
    return _yaml({"groups": groups()})


def for_the_operator() -> str:
    """The resource for a Prometheus operator."""
    about = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "dp-coordinator"}}
    return _yaml(about | {"spec": {"groups": groups()}})


if __name__ == "__main__":
    FILE.write_text(alerts())
    OPERATOR_FILE.write_text(for_the_operator())
