"""What this package knows of the class that it stands in for, and the check that the installed vLLM still has it so.

Source: `vllm/v1/engine/coordinator.py` and `utils.py`, vLLM 0.10.2 to 0.33.0.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

CONSTRUCTORS = (
    ("parallel_config",),  # 0.10.2
    ("parallel_config", "enable_wave_coordination"),  # 0.14
    ("parallel_config", "enable_wave_coordination", "logging_config"),  # 0.31
)
METHODS: dict[str, tuple[str, ...]] = {
    "get_stats_publish_address": (),
    "get_engine_socket_addresses": (),
    "shutdown": ("timeout",),  # 0.18
    "close": (),  # through 0.17
}
ADDRESSES = ("get_stats_publish_address", "get_engine_socket_addresses")
ADDRESS_HELPER = "get_engine_client_zmq_addr"


def difference(coordinator: ModuleType, utils: ModuleType) -> str | None:
    """In what this vLLM departs from all that is known, as half a sentence; None when it is as known.

    `coordinator` and `utils` are the modules `vllm.v1.engine.coordinator` and `vllm.v1.engine.utils`.
    """
    found = getattr(coordinator, "DPCoordinator", None)
    if not inspect.isclass(found):
        return "vllm.v1.engine.coordinator has no class DPCoordinator"
    return _class(found) or _helper(coordinator) or _lookup(found, utils)


def _class(found: type[Any]) -> str | None:
    names = _parameters(found.__init__)
    if names not in CONSTRUCTORS:
        return f"DPCoordinator takes ({', '.join(names)}), which is not known"
    methods = {name: _parameters(member) for name, member in vars(found).items() if callable(member) and name[0] != "_"}
    for name, parameters in methods.items():
        if name not in METHODS:
            return f"DPCoordinator has a method {name}, which is not known"
        if parameters != METHODS[name]:
            return f"DPCoordinator.{name} takes ({', '.join(parameters)}), which is not known"
    missing = [name for name in ADDRESSES if name not in methods]
    if missing or not {"shutdown", "close"} & methods.keys():
        return f"DPCoordinator has no {missing[0] if missing else 'shutdown'}"
    return None


def _helper(coordinator: ModuleType) -> str | None:
    helper = getattr(coordinator, ADDRESS_HELPER, None)
    if not callable(helper) or _parameters(helper, bound=True)[:2] != ("local_only", "host"):
        return f"vllm.v1.engine.coordinator has no {ADDRESS_HELPER}(local_only, host)"
    return None


def _lookup(found: type[Any], utils: ModuleType) -> str | None:
    launch = getattr(utils, "launch_core_engines", None)
    code = getattr(inspect.unwrap(launch), "__code__", None) if callable(launch) else None
    if getattr(utils, "DPCoordinator", None) is not found or code is None or "DPCoordinator" not in code.co_names:
        return "vllm.v1.engine.utils.launch_core_engines does not build vllm.v1.engine.utils.DPCoordinator"
    return None


def _parameters(function: Any, *, bound: bool = False) -> tuple[str, ...]:
    names = tuple(inspect.signature(function).parameters)
    return names if bound else names[1:]
