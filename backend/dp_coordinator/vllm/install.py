"""Puts our class where vLLM looks its coordinator up, if this vLLM is one that is known."""

from __future__ import annotations

from importlib import import_module

from dp_coordinator.core.dialect import Dialect, UnknownDialectError
from dp_coordinator.vllm import coordinator as ours
from dp_coordinator.vllm.contract import difference
from dp_coordinator.vllm.refusal import log


def install() -> None:
    """Replace the class, or leave vLLM untouched and log why: serving comes first. Further calls do nothing."""
    reason = _install()
    if reason is not None:
        log.warning("dp-coordinator is not used, vLLM's own coordinator is: %s.", reason)


def _install() -> str | None:
    try:
        theirs, utils = import_module("vllm.v1.engine.coordinator"), import_module("vllm.v1.engine.utils")
        dialect = Dialect.for_version(ours.vllm_version())
    except ImportError as error:
        return f"this vLLM has no coordinator that is known ({error})"
    except UnknownDialectError as error:
        return str(error)
    if utils.DPCoordinator is ours.DPCoordinator:
        return None
    reason = difference(theirs, utils)
    if reason is not None:
        return f"vLLM {dialect.version} is not as this package knows it, {reason}"
    vars(utils)["DPCoordinator"] = vars(theirs)["DPCoordinator"] = ours.DPCoordinator
    return None
