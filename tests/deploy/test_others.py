"""The systemd units and the compose file, as far as they can be looked at without being root or having images."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.run import announced, environment
from tests.deploy.tools import DEPLOY, ROOT, ran

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROGRAM = "/opt/dp-coordinator/bin/dp-coordinator"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_the_unit(unit: Path, tmp_path: Path) -> None:
    """All of it: an unknown setting is only a warning to it, but one that it prints."""
    text = unit.read_text()
    assert text.count(PROGRAM) == 1
    here = tmp_path / unit.name
    here.write_text(text.replace(PROGRAM, "/bin/true"))
    assert ran("systemd-analyze", "verify", here) == ""
    exposure = ran("systemd-analyze", "security", "--offline=true", here)
    found = re.search(r"exposure level for \S+: (\d+\.\d)", exposure)
    assert found is not None
    assert float(found[1]) < 2.5, exposure


def test_the_command_of_the_unit_runs(tmp_path: Path) -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", (DEPLOY / "systemd/dp-coordinator.service").read_text(), re.MULTILINE)
    program, *arguments = shlex.split(line.replace("${STATE_DIRECTORY}", str(tmp_path)))
    assert program == PROGRAM
    variables = environment({"DP_COORDINATOR_ENGINE_COUNT": "2", "DP_COORDINATOR_HTTP": "127.0.0.1:0"})
    variables |= {
        f"DP_COORDINATOR_{name}_ADDRESS": "tcp://127.0.0.1:0"
        for name in ("FRONT_PUBLISH", "BACK_OUTPUT", "BACK_PUBLISH")
    }
    with subprocess.Popen(
        [sys.executable, "-m", "dp_coordinator", *arguments], env=variables, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert announced(process)["back_output"].startswith("tcp://127.0.0.1:")
            assert (tmp_path / "journal").exists()
        finally:
            process.terminate()
        assert process.wait(30) == 0


def test_the_compose_stack_has_grafana_as_a_profile() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert [name for name, service in services.items() if "profiles" in service] == ["grafana"]
    for name in ("prometheus", "grafana"):
        for volume in services[name]["volumes"]:
            source = ROOT / volume.partition(":")[0]
            assert source.exists(), f"{name} mounts {source}, which is not there: Docker would make a folder"
            assert volume.endswith(":ro")
    boards = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/dp-coordinator.yml").read_text())
    (path,) = [provider["options"]["path"] for provider in boards["providers"]]
    assert f"./deploy/grafana/dp-coordinator.json:{path}/dp-coordinator.json:ro" in services["grafana"]["volumes"]


def test_docker_compose_understands_the_profile() -> None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
        ):
            break
    else:
        pytest.skip("no docker compose here, so it was not asked what it makes of the file")
    done = subprocess.run(
        [*command, "--profile", "grafana", "config"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "grafana/grafana" in done.stdout
