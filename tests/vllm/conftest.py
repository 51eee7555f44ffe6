from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from dp_coordinator.vllm import register
from tests.vllm import standin


class Installed:
    """A stand-in for vLLM on sys.path, with the plugin registered as vLLM would."""

    def __init__(self, generation: standin.Generation) -> None:
        self.generation = generation

    @property
    def coordinator(self) -> Any:
        return import_module("vllm.v1.engine.coordinator")

    @property
    def utils(self) -> Any:
        return import_module("vllm.v1.engine.utils")

    @property
    def replaced(self) -> bool:
        module: str = self.utils.DPCoordinator.__module__
        return module == "dp_coordinator.vllm.coordinator"

    def launch(self, placement: Any = None, **arguments: Any) -> Any:
        """What vLLM does with its coordinator, from start to end, as a context manager."""
        config = standin.ParallelConfig(self.generation, **(placement or {}))
        return self.utils.launch_core_engines(config, **(self.generation.arguments | arguments))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`install(generation)` makes a vLLM of that generation importable and calls the plugin's entry point, or `by`."""
    for name in [name for name in os.environ if name.startswith("DP_COORDINATOR")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DP_COORDINATOR", "1")
    monkeypatch.setenv("DP_COORDINATOR_HTTP", "127.0.0.1:0")

    def forget() -> None:
        for name in [name for name in sys.modules if name == "vllm" or name.startswith("vllm.")]:
            del sys.modules[name]

    def installed(
        generation: standin.Generation = standin.NEWEST, edit: Any = None, by: Callable[[], None] = register
    ) -> Any:
        standin.write(tmp_path, generation)
        if edit is not None:
            edit(tmp_path / "vllm" / "v1" / "engine")
        monkeypatch.syspath_prepend(str(tmp_path))
        by()
        return Installed(generation)

    forget()
    yield installed
    forget()
