"""The tools that read what deploy/ holds: where they are, and what is said when one is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OPEN = build_opener(ProxyHandler({})).open
HINTS = {
    "kubectl": "`make setup` says how to install it",
    "prometheus": "`make setup` installs Debian's where it can",
    "promtool": "it comes with prometheus, which `make setup` installs where it can",
    "systemd-analyze": "it comes with systemd",
}


def tool(name: str) -> str:
    """The path of a program; skips the test, in words, where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here, so this was not checked: {HINTS[name]}")
    return found


def ran(name: str, *arguments: str | Path) -> str:
    """What a tool prints; fails the test with that when it fails."""
    done = subprocess.run([tool(name), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


class Prometheus:
    """A Prometheus that runs, asked over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        with OPEN(self.url + path, timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def query(self, promql: str) -> list[Any]:
        """The series that a query gives now."""
        found: list[Any] = self.get(f"/api/v1/query?query={quote(promql)}")["result"]
        return found

    def rules(self) -> list[Any]:
        return [rule for group in self.get("/api/v1/rules")["groups"] for rule in group["rules"]]


@contextmanager
def prometheus(folder: Path, port: int, targets: list[str], rules: Path) -> Iterator[Prometheus]:
    """One that scrapes the targets every half second and evaluates the rules as often."""
    config = folder / "prometheus.json"
    config.write_text(
        json.dumps(  # YAML that needs no library
            {
                "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
                "rule_files": [str(rules)],
                "scrape_configs": [{"job_name": "dp-coordinator", "static_configs": [{"targets": targets}]}],
            }
        )
    )
    log = folder / "prometheus.log"
    command = [tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    except BaseException:
        print(log.read_text()[-4000:])
        raise
    finally:
        process.kill()
        process.wait(10)
