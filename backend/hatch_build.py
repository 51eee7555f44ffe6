"""Hatch's build hook: a wheel or an sdist carries the dashboard, built from `frontend/` by npm.

An editable install builds nothing (`make setup` builds the page). An sdist carries the built page, so installing
from one needs no Node.js.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP = "DP_COORDINATOR_SKIP_FRONTEND"
NODE_NEEDED = (
    "dp-coordinator's dashboard is built with Node.js, and `npm` was not found on PATH. "
    "Install Node.js 20.19 or newer, or install a wheel or an sdist: those carry the built page."
)


class FrontendBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the built page into the package before hatchling collects its files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page unless it is there already. Raises `RuntimeError` saying what is missing."""
        root = Path(self.root)
        built = (root / "backend/dp_coordinator/web/static/index.html").is_file()
        if version == "editable" or (built and came_built(root)):
            return
        if os.environ.get(SKIP) == "1":
            raise RuntimeError(f"{SKIP}=1 asks for a page that is built already, but web/static/index.html is missing")
        build_page(root / "frontend")


def came_built(root: Path) -> bool:
    """Whether a page that is there is to be taken as it is: in an unpacked sdist, or when the builder says so."""
    return os.environ.get(SKIP) == "1" or (root / "PKG-INFO").is_file()


def build_page(frontend: Path) -> None:
    """Run npm in `frontend`, which writes the page into the package."""
    if not (frontend / "package.json").is_file():
        raise RuntimeError(f"cannot build the dashboard: {frontend / 'package.json'} is missing")
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(NODE_NEEDED)
    install = [] if modules_are_current(frontend) else [["ci", "--no-audit", "--no-fund"]]
    for arguments in [*install, ["run", "build"]]:
        try:
            subprocess.run([npm, *arguments], cwd=frontend, check=True)  # noqa: S603 (npm itself, found above)
        except subprocess.CalledProcessError as error:
            command = f"npm {' '.join(arguments)}"
            raise RuntimeError(f"`{command}` failed in {frontend} with exit code {error.returncode}") from error


def modules_are_current(frontend: Path) -> bool:
    """Whether `node_modules` was installed from the lock file as it is now."""
    installed, lock = frontend / "node_modules/.package-lock.json", frontend / "package-lock.json"
    return installed.is_file() and lock.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime
