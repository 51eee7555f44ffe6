"""A callback class for Ray Serve LLM, against a stand-in of its base; the real one is in test_real_ray_serve.py."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vllm.standin import state

BASE = '''
class CallbackBase:
    """As in ray 2.60."""

    def __init__(self, llm_config, raise_error_on_callback=True, ctx_kwargs=None, **kwargs):
        self.kwargs, self.llm_config = kwargs, llm_config

    async def on_before_node_init(self): ...
'''


@pytest.fixture
def callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes one, as Ray Serve LLM does in the replica of each rank."""
    folder = tmp_path / "ray" / "llm" / "_internal" / "common" / "callbacks"
    folder.mkdir(parents=True)
    (folder / "base.py").write_text(BASE)
    monkeypatch.syspath_prepend(str(tmp_path))

    def forget() -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == "ray" or name.endswith(".ray_serve")]:
            del sys.modules[name]

    def made(**kwargs: Any) -> Any:
        from dp_coordinator.vllm.ray_serve import UseDPCoordinator

        return UseDPCoordinator(llm_config=None, raise_error_on_callback=True, ctx_kwargs={}, **kwargs)

    forget()
    yield made
    forget()


def before_the_engine(made: Any) -> Callable[[], None]:
    return lambda: asyncio.run(made.on_before_node_init())


def test_it_is_what_the_replica_builds_without_a_plugin(
    install: Any, callback: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DP_COORDINATOR")
    vllm = install(by=before_the_engine(callback()))
    assert vllm.replaced
    with vllm.launch({"fronts_elsewhere": True, "local": 1}) as coordinator:
        said = state(coordinator)
        assert said["engine_count"] == 2
        assert said["endpoints"]["back_output"].startswith("tcp")


def test_it_can_be_turned_off_all_the_same(
    install: Any, callback: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DP_COORDINATOR", "0")
    assert not install(by=before_the_engine(callback())).replaced


def test_settings_in_the_wrong_place_are_refused(callback: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"callback_kwargs http: .* variables named DP_COORDINATOR_\*, in env_vars"):
        callback(http="0.0.0.0:8280")
