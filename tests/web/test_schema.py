from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dp_coordinator.web.api import schema
from tests.web.rig import Site

GENERATED = Path(__file__).parents[2] / "frontend" / "src" / "types.gen.ts"


def test_the_pages_types_are_those_of_the_messages() -> None:
    assert GENERATED.read_text() == schema.typescript(), (
        "stale: run `python -m dp_coordinator.web.api.schema --typescript > frontend/src/types.gen.ts`"
    )


def test_the_module_prints_json_schema_and_typescript() -> None:
    command = [sys.executable, "-W", "error", "-m", "dp_coordinator.web.api.schema"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(printed.stdout) == json.loads(json.dumps(schema.document()))
    printed = subprocess.run([*command, "--typescript"], check=True, capture_output=True, text=True, timeout=60)
    assert printed.stdout == schema.typescript()


def test_typescript_of_each_shape() -> None:
    class Odd(msgspec.Struct):
        a: list[int | None]
        b: dict[str, list[str]]
        c: bool = True

    described = msgspec.json.schema_components([Odd])[1]["Odd"]
    assert schema._declared("Odd", described) == (
        "export const isOdd = object({\n"
        "  a: list(nullable(num)),\n  b: dictionary(list(text)),\n  c: optional(truth),\n});\n"
        "export interface Odd extends Of<typeof isOdd> {}\n"
    )
    with pytest.raises(ValueError, match="no TypeScript"):
        schema._check({"type": "strange"})


def test_what_is_referred_to_stands_before_what_refers_to_it() -> None:
    described = schema.components()
    order = schema._in_order(described, described)
    assert sorted(order) == list(described)
    assert order.index("DeploymentState") < order.index("SnapshotMessage")
    assert order.index("RankSeen") < order.index("Action") < order.index("SnapshotMessage")


def test_field_docstrings_reach_the_schema() -> None:
    assert "at least once a second" in schema.components()["State"]["properties"]["data_age_s"]["description"]


def test_openapi_describes_every_route_with_our_types(shared: Site) -> None:
    described = shared.get("/openapi.json").json()
    text = json.dumps(described)
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(described["components"]["schemas"])
    assert "HTTPValidationError" not in text
    assert set(described["paths"]) == {
        "/api/v1/state",
        "/api/v1/summary",
        "/api/v1/deployments",
        "/api/v1/engines",
        "/api/v1/engines/{index}",
        "/api/v1/peers",
        "/api/v1/sources",
        "/api/v1/loads",
        "/api/v1/loads/stream",
        "/api/v1/waves",
        "/api/v1/events",
        "/api/v1/alarms",
        "/api/v1/history",
        "/api/v1/history/states",
        "/api/v1/recording",
        "/api/v1/wave",
        "/api/v1/engine-count",
        "/api/v1/actions/{action_id}",
        "/api/v1/session",
        "/api/v1/login",
        "/api/v1/logout",
        "/livez",
        "/readyz",
        "/metrics",
    }
    posted = described["paths"]["/api/v1/waves"]["post"]
    assert posted["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/StartWave")
    assert set(posted["responses"]) == {"202", "default"}


def test_the_reference_needs_nothing_from_elsewhere(shared: Site) -> None:
    page = shared.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "<script" not in page.text
    assert "POST /api/v1/waves" in page.text
    assert 'id="SnapshotMessage"' in page.text
    assert shared.get("/docs.css").headers["content-type"].startswith("text/css")
