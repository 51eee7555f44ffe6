"""The Grafana board and the alert rules, on a real Prometheus that scraped a real coordinator."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
import zmq

from benchmarks.ports import free_port
from deploy.grafana import board
from deploy.grafana.panels import ROWS, queries
from deploy.prometheus import rules
from dp_coordinator.words import AlarmKind
from tests.cli.run import running
from tests.deploy.tools import DEPLOY, OPEN, Prometheus, prometheus, ran
from tests.waiting import wait_until

FILES = {board.FILE: board.board, rules.FILE: rules.alerts, rules.OPERATOR_FILE: rules.for_the_operator}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_written_is_what_its_code_writes(file: Path) -> None:
    assert file.read_text() == FILES[file](), "run `make monitoring`"


def alert_of(kind: AlarmKind) -> Any:
    """The rule that asks for this kind of alarm. Fails when there is none, or more than one."""
    asking = re.compile(rf'dp_coordinator_alarm{{kind="{kind.value}"}}')
    found = [rule for group in yaml.safe_load(rules.FILE.read_text())["groups"] for rule in group["rules"]]
    (one,) = [rule for rule in found if asking.search(rule["expr"])]
    return one


@pytest.mark.parametrize("kind", AlarmKind)
def test_every_kind_of_alarm_has_an_alert(kind: AlarmKind, tmp_path: Path) -> None:
    """Quiet while the alarm does not stand, a warning or critical as the alarm is, naming its ranks."""
    name = alert_of(kind)["alert"]
    series = {
        f'dp_coordinator_alarm{{instance="a",kind="{kind.value}"}}': "0 1 1 1 0",
        f'dp_coordinator_alarm_critical{{instance="a",kind="{kind.value}"}}': "0 0 1 1 0",
        f'dp_coordinator_alarm{{instance="b",kind="{kind.value}"}}': "0 0 0 0 0",
        f'dp_coordinator_alarm_critical{{instance="b",kind="{kind.value}"}}': "0 0 0 0 0",
    }
    expected = {0: [], 1: ["warning"], 2: ["critical"], 3: ["critical"], 4: []}
    of_kind = {"kind": kind.value, "instance": "a"}
    annotations = alert_of(kind)["annotations"]
    text = {"description": annotations["description"], "summary": annotations["summary"].partition("{{")[0] + "a"}
    asked = [
        {
            "eval_time": f"{minute}m",
            "alertname": name,
            "exp_alerts": [{"exp_labels": of_kind | {"severity": s}, "exp_annotations": text} for s in severities],
        }
        for minute, severities in expected.items()
    ]
    given = [{"series": key, "values": values} for key, values in series.items()]
    test = {"rule_files": [str(rules.FILE)], "evaluation_interval": "1m"}
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(test | {"tests": [{"interval": "1m", "input_series": given, "alert_rule_test": asked}]}))
    ran("promtool", "test", "rules", file)


def test_the_rules_by_example() -> None:
    ran("promtool", "check", "rules", rules.FILE)
    ran("promtool", "test", "rules", DEPLOY / "prometheus" / "alerts.test.yml")


def test_the_board_is_laid_out_as_it_is_asked_for() -> None:
    drawn = json.loads(board.FILE.read_text())
    panels = [panel for panel in drawn["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in panels] == [panel.title for row in ROWS.values() for panel in row]
    assert [target["expr"] for panel in panels for target in panel["targets"]] == queries()
    numbers = [panel["id"] for panel in drawn["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert all(panel["datasource"]["uid"] == "${DS_PROMETHEUS}" for panel in panels)
    for panel in drawn["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, str]]:
    """A Prometheus, and the address of the coordinator that it scrapes: a demo with engines, front-ends and traffic."""
    port = free_port()
    with running("demo", "--http", "127.0.0.1:0", "--engines", "3", "--front-ends", "1", "--step-ms", "2") as demo:
        assert demo.stdout is not None
        url = next(found[1] for line in demo.stdout if (found := re.search(r"dashboard: (http://\S+)", line)))
        target = url.removeprefix("http://").rstrip("/")
        with prometheus(tmp_path_factory.mktemp("prometheus"), port, [target], rules.FILE) as asked:
            wait_until(lambda: asked.query("dp_coordinator_wave_duration_seconds_count > 0"), "a wave has ended")
            wait_until(lambda: len(asked.query("dp_coordinator_engine_waiting")) == 3, "every rank has reported")
            yield asked, url


def test_every_query_of_the_board_gives_data(scraped: tuple[Prometheus, str]) -> None:
    asked, _ = scraped
    for query in queries(namespace=".*", instance=".*", interval="10s"):
        wait_until(partial(asked.query, query), query)


def test_every_rule_is_evaluated_and_a_real_alarm_fires_its_alert(scraped: tuple[Prometheus, str]) -> None:
    asked, url = scraped

    def firing() -> Any:
        (rule,) = [rule for rule in asked.rules() if rule["name"] == "DPCoordinatorBadFrames"]
        return rule["alerts"]

    written = [rule["alert"] for group in rules.groups() for rule in group["rules"]]
    wait_until(lambda: all(rule["health"] == "ok" for rule in asked.rules()), "every rule was evaluated")
    assert sorted(rule["name"] for rule in asked.rules()) == sorted(written)
    assert not firing()
    with OPEN(f"{url.rstrip('/')}/api/v1/state", timeout=10) as answer:
        address = json.load(answer)["endpoints"]["back_output"]
    context: zmq.Context[Any] = zmq.Context()
    with context, context.socket(zmq.PUSH) as stranger:
        stranger.setsockopt(zmq.LINGER, 5000)
        stranger.connect(address)
        stranger.send(b"no frame of vLLM's")

        (alert,) = wait_until(firing, "the alert fires")
    assert (alert["state"], alert["labels"]["severity"]) == ("firing", "warning")
    assert alert["annotations"]["summary"] == f"Bad frames at {alert['labels']['instance']}"
