"""What `kubectl kustomize` makes of deploy/kubernetes: by Kubernetes' own schemas, and by what we promise of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from dp_coordinator.options import CommandOptions, ServeOptions
from dp_coordinator.settings import settings_of
from tests.deploy.tools import DEPLOY, ROOT, ran

OVERLAYS = ("watch", "lws-wide-ep")
OPERATOR = ("PodMonitor", "PrometheusRule")
LWS = "LeaderWorkerSet"
VLLMS = {*range(8000, 8008), *range(8200, 8209), 5555}
"""Ports of vLLM in that deployment: of the routing proxy, the ranks, the supervisor and the rendezvous."""
POD_SPEC = ("spec", "leaderWorkerTemplate", "workerTemplate")


@pytest.fixture(scope="module", params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> tuple[str, list[Any]]:
    return request.param, resources(request.param)


def resources(overlay: str) -> list[Any]:
    return list(yaml.safe_load_all(ran("kubectl", "kustomize", DEPLOY / "kubernetes" / overlay)))


def one(found: list[Any], kind: str, name: str | None = None) -> Any:
    (only,) = [r for r in found if r["kind"] == kind and name in (None, r["metadata"]["name"])]
    return only


def template(resource: Any) -> Any:
    """The pods that it makes."""
    found = resource
    for key in POD_SPEC if resource["kind"] == LWS else ("spec", "template"):
        found = found[key]
    return found


def pods(found: list[Any]) -> Iterator[Any]:
    for resource in found:
        if resource["kind"] in ("Deployment", LWS):
            made = template(resource)
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "made", **made["metadata"]}} | {
                "spec": made["spec"]
            }


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_by_kubernetes_own_schemas(rendered: tuple[str, list[Any]], version: str) -> None:
    _, found = rendered
    checked = [r for r in found if r["kind"] not in (*OPERATOR, LWS)]
    for resource in [*checked, *pods(found)]:
        kubernetes_validate.validate(resource, version, strict=True)
    assert {r["kind"] for r in checked} >= {"Deployment", "Service", "NetworkPolicy", "ConfigMap"}
    spoilt = checked[0] | {"nonsense": 1}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, version, strict=True)


def test_by_the_prometheus_operators_schemas() -> None:
    node = shutil.which("node", path=f"{ROOT / '.venv/node/bin'}{os.pathsep}{os.environ['PATH']}")
    if node is None:
        pytest.skip("no Node.js here, so the operator's schemas were not asked: `make setup` installs one")
    found = [r for r in resources("lws-wide-ep") if r["kind"] in OPERATOR]
    assert sorted(r["kind"] for r in found) == sorted(OPERATOR)

    def asked(them: list[Any]) -> subprocess.CompletedProcess[str]:
        script = ROOT / "frontend" / "scripts" / "check-monitoring.mjs"
        given = json.dumps(them)
        return subprocess.run([node, script], input=given, capture_output=True, text=True, timeout=60, check=False)

    assert (done := asked(found)).returncode == 0, done.stderr
    monitor = one(found, "PodMonitor")
    monitor["spec"]["podMetricsEndpoints"][0]["interval"] = 5
    assert "PodMonitor dp-coordinator" in asked([monitor]).stderr


def test_what_there_is(rendered: tuple[str, list[Any]]) -> None:
    overlay, found = rendered
    expected = {"Deployment", "Service", "NetworkPolicy", "ConfigMap"}
    if overlay == "lws-wide-ep":
        expected |= {*OPERATOR, LWS}
        board = one(found, "ConfigMap", "dp-coordinator-board")
        assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(board["data"]["dp-coordinator.json"])["uid"] == "dp-coordinator"
    assert {r["kind"] for r in found} == expected, "and no Secret: the token is made by whoever installs it"


def ours(found: list[Any]) -> Iterator[Any]:
    """Every container of ours."""
    for pod in pods(found):
        spec = pod["spec"]
        yield from (c for c in spec["containers"] + spec.get("initContainers", []) if "dp-coordinator:" in c["image"])


def test_ours_is_nobody_special(rendered: tuple[str, list[Any]]) -> None:
    overlay, found = rendered
    watch = template(one(found, "Deployment"))["spec"]
    assert len(list(ours(found))) == (1 if overlay == "watch" else 2)
    assert watch["automountServiceAccountToken"] is False
    assert watch["securityContext"]["runAsNonRoot"] is True
    assert watch["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in ours(found):
        may = container["securityContext"]
        assert may["readOnlyRootFilesystem"] is True
        assert may["allowPrivilegeEscalation"] is False
        assert may["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert re.search(r":\d+\.\d+\.\d+$", container["image"]), (
            "a version, as others change under a running deployment"
        )


def test_the_token_comes_from_a_secret(rendered: tuple[str, list[Any]]) -> None:
    _, found = rendered
    for pod in pods(found):
        (volume,) = [v for v in pod["spec"]["volumes"] if "secret" in v]
        assert volume["secret"]["secretName"] == "dp-coordinator-token"
        container = pod["spec"]["containers"][0]
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == volume["name"]]
        said = container.get("args", []) + [f"{e['name']}={e['value']}" for e in container.get("env", [])]
        assert [text for text in said if text.endswith(f"={mount['mountPath']}/token")], said


def test_nothing_of_vllms_is_changed() -> None:
    """Its ports, command, probes and other containers are as they were; we add, and the page has a port of its own."""
    found = resources("lws-wide-ep")
    before = yaml.safe_load((DEPLOY / "kubernetes/lws-wide-ep/leaderworkerset.yaml").read_text())
    was, is_ = template(before)["spec"], template(one(found, LWS))["spec"]
    added = {"env", "ports", "volumeMounts"}
    for key in was["containers"][0].keys() - added:
        assert is_["containers"][0][key] == was["containers"][0][key] or key == "image", key
    for key in added:
        assert is_["containers"][0][key][: len(was["containers"][0][key])] == was["containers"][0][key]
    assert len(is_["containers"]) == len(was["containers"])
    assert [c for c in is_["initContainers"] if c["name"] != "dp-coordinator"] == was["initContainers"]
    assert "readinessGates" not in is_
    own = {p["containerPort"] for p in is_["containers"][0]["ports"]} - {
        p["containerPort"] for p in was["containers"][0]["ports"]
    }
    own |= {p["containerPort"] for c in ours(found) for p in c.get("ports", [])}
    assert own == {8280}
    assert not own & VLLMS


def test_who_may_reach_what(rendered: tuple[str, list[Any]]) -> None:
    overlay, found = rendered
    labels = [{"app.kubernetes.io/name": "dp-coordinator", "app.kubernetes.io/component": "watch"}]
    if overlay == "lws-wide-ep":
        labels.append({"leaderworkerset.sigs.k8s.io/name": one(found, LWS)["metadata"]["name"]})
    policies = [r["spec"] for r in found if r["kind"] == "NetworkPolicy"]
    assert sorted((p["podSelector"]["matchLabels"] for p in policies), key=str) == sorted(labels, key=str)
    watch = template(one(found, "Deployment"))["metadata"]["labels"]
    assert labels[0].items() <= watch.items()
    for policy in policies:
        if "Egress" not in policy["policyTypes"]:
            everybody, some = policy["ingress"]
            ports = [p for p in everybody["ports"] if p["protocol"] == "TCP"]
            to_all = {n for p in ports for n in range(p["port"], p["endPort"] + 1)}
            assert set(range(1, 65536)) - to_all == {8280}, "vLLM's own are as open as they were"
            assert some["from"]
            assert [p["port"] for p in some["ports"]] == [8280]


def test_the_page_is_found(rendered: tuple[str, list[Any]]) -> None:
    """Services and the PodMonitor name a port that the pods have."""
    _, found = rendered
    named = [p["targetPort"] for r in found if r["kind"] == "Service" for p in r["spec"]["ports"]]
    for monitor in [r for r in found if r["kind"] == "PodMonitor"]:
        named += [p["port"] for p in monitor["spec"]["podMetricsEndpoints"]]
        selected = monitor["spec"]["selector"]["matchLabels"].items()
        assert all(selected <= pod["metadata"]["labels"].items() for pod in pods(found))
    assert set(named) == {"dp-page"}
    for pod in pods(found):
        assert "dp-page" in {p["name"] for p in pod["spec"]["containers"][0]["ports"]}


def test_every_variable_is_one_of_ours() -> None:
    known = {flag.variable for of in (CommandOptions, ServeOptions) for s in settings_of(of) for flag in s.flags}
    set_ = {e["name"] for pod in pods(resources("lws-wide-ep")) for e in pod["spec"]["containers"][0].get("env", [])}
    assert {name for name in set_ if name.startswith("DP_COORDINATOR_")} <= known
    assert "DP_COORDINATOR" in set_


def test_the_coordinator_asks_whom_watch_asks() -> None:
    found = resources("lws-wide-ep")
    container = template(one(found, LWS))["spec"]["containers"][0]
    (scraped,) = [e["value"] for e in container["env"] if e["name"] == "DP_COORDINATOR_SCRAPE"]
    targets = one(found, "ConfigMap", "dp-coordinator-targets")["data"]["targets.txt"].splitlines()
    assert scraped.split(",") == [line for line in targets if line and not line.startswith("#")]


def test_the_targets_are_addresses(rendered: tuple[str, list[Any]]) -> None:
    _, found = rendered
    targets = one(found, "ConfigMap", "dp-coordinator-targets")["data"]["targets.txt"].splitlines()
    named = [line for line in targets if line and not line.startswith("#")]
    assert named
    assert all(re.fullmatch(r"http://[a-z-]+:\d+(-\d+)?", line) for line in named)
    volume = template(one(found, "Deployment"))["spec"]["volumes"]
    assert {"name": "targets", "configMap": {"name": "dp-coordinator-targets"}} in volume
    args = template(one(found, "Deployment"))["spec"]["containers"][0]["args"]
    assert "--scrape-file=/etc/dp-coordinator/targets.txt" in args
