"""The plugin by which an unmodified vLLM runs on this coordinator: `DP_COORDINATOR=1 vllm serve ...`.

vLLM calls `register` in every one of its processes, engines and workers too: nothing is imported here until it is on.
This folder is the only one that may import vLLM; the coordinator's own process never does.
"""

from __future__ import annotations

import os

__all__ = ["register"]

SWITCH = "DP_COORDINATOR"


def register() -> None:
    """Put our coordinator in the place of vLLM's, if `DP_COORDINATOR` says so. Entry point of `vllm.general_plugins`.

    Ends the process with a sentence when the variable is neither true nor false.
    """
    switch = os.environ.get(SWITCH, "").strip()
    if switch in {"", "0"}:
        return
    from dp_coordinator.values import BadValueError, boolean  # noqa: PLC0415
    from dp_coordinator.vllm.refusal import refuse  # noqa: PLC0415

    try:
        on = boolean(switch)
    except BadValueError as error:
        refuse(f"{SWITCH}: {error}")
    if on:
        from dp_coordinator.vllm.install import install  # noqa: PLC0415

        install()
