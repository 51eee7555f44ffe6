"""The hook that puts the built page into wheels and sdists, without running npm for real."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "backend" / "hatch_build.py"


@pytest.fixture
def hook() -> ModuleType:
    """The hook's module, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("hatch_build", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def initialize(hook: ModuleType, root: Path, version: str = "standard") -> None:
    made: Any = hook.FrontendBuildHook(str(root), {}, None, None, str(root / "dist"), "wheel")
    made.initialize(version, {})


def page_in(root: Path) -> Path:
    page = root / "backend/dp_coordinator/web/static/index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<html>")
    return page


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose npm only notes down what it was asked; the file it notes it in."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "npm").write_text('#!/bin/sh\necho "$*" >> "$NOTES"\nexit "${NPM_EXIT:-0}"\n')
    (tools / "npm").chmod(0o755)
    notes = tmp_path / "notes"
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("NOTES", str(notes))
    monkeypatch.delenv("DP_COORDINATOR_SKIP_FRONTEND", raising=False)
    (tmp_path / "frontend").mkdir()
    (tmp_path / "frontend/package.json").write_text("{}")
    return notes


def test_an_editable_install_builds_nothing(hook: ModuleType, npm: Path, tmp_path: Path) -> None:
    initialize(hook, tmp_path, "editable")
    assert not npm.exists()


def test_a_checkout_is_built_anew_even_when_a_page_is_there(hook: ModuleType, npm: Path, tmp_path: Path) -> None:
    page_in(tmp_path)
    initialize(hook, tmp_path)
    assert npm.read_text() == "ci --no-audit --no-fund\nrun build\n"


def test_packages_that_are_current_are_not_installed_again(hook: ModuleType, npm: Path, tmp_path: Path) -> None:
    (tmp_path / "frontend/package-lock.json").write_text("{}")
    (tmp_path / "frontend/node_modules").mkdir()
    (tmp_path / "frontend/node_modules/.package-lock.json").write_text("{}")
    initialize(hook, tmp_path)
    assert npm.read_text() == "run build\n"


def test_an_sdist_carries_its_page(hook: ModuleType, npm: Path, tmp_path: Path) -> None:
    page_in(tmp_path)
    (tmp_path / "PKG-INFO").write_text("")
    initialize(hook, tmp_path)
    assert not npm.exists()


def test_a_page_that_was_built_elsewhere_is_taken(
    hook: ModuleType, npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DP_COORDINATOR_SKIP_FRONTEND", "1")
    with pytest.raises(RuntimeError, match=r"index\.html is missing"):
        initialize(hook, tmp_path)
    page_in(tmp_path)
    initialize(hook, tmp_path)
    assert not npm.exists()


def test_without_npm_it_says_what_to_install(
    hook: ModuleType, npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"`npm` was not found on PATH\. Install Node\.js 20\.19 or newer"):
        initialize(hook, tmp_path)


def test_a_build_that_fails_names_its_command(
    hook: ModuleType, npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_EXIT", "3")
    with pytest.raises(RuntimeError, match=r"`npm ci --no-audit --no-fund` failed .* with exit code 3"):
        initialize(hook, tmp_path)
