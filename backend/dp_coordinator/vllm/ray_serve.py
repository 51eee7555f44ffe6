"""Our coordinator under Ray Serve LLM's `build_dp_openai_app`, whose replicas do not load vLLM's plugins.

Each replica is one data-parallel rank with external load balancing. With accelerators the engine's arguments, and with
them the plugins, are looked at in a task of their own, and the replica of rank 0, which builds the coordinator, never
calls an entry point (ray 2.60, `ray/llm/_internal/serve/engines/vllm/vllm_engine.py`, `start`). But before that it asks
a callback class:

    LLMConfig(..., callback_config={"callback_class": "dp_coordinator.vllm.ray_serve:UseDPCoordinator"})

Settings are the variables of the plugin, in `runtime_env`: `{"env_vars": {"DP_COORDINATOR_HTTP": "0.0.0.0:8280"}}`.
"""

from __future__ import annotations

import os
from typing import Any

from ray.llm._internal.common.callbacks.base import CallbackBase  # there is no other name for it

from dp_coordinator.vllm import SWITCH, register

__all__ = ["UseDPCoordinator"]


class UseDPCoordinator(CallbackBase):  # type: ignore[misc]  # Ray is not there when types are checked
    """Puts our coordinator in the place of vLLM's in the process that makes the engine.

    Naming the class turns it on; `DP_COORDINATOR=0` turns it off all the same.
    """

    def __init__(self, **kwargs: Any) -> None:
        """As Ray Serve LLM calls it. Raises `ValueError` when it is given `callback_kwargs`, which would do nothing."""
        super().__init__(**kwargs)
        if self.kwargs:
            raise ValueError(
                f"callback_kwargs {', '.join(sorted(self.kwargs))}: UseDPCoordinator takes none; "
                f"its settings are variables named {SWITCH}_*, in env_vars of the runtime_env"
            )

    async def on_before_node_init(self) -> None:
        """Called by the replica before it makes its engine."""
        os.environ.setdefault(SWITCH, "1")
        register()
