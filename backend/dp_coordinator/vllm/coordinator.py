"""The class that vLLM builds instead of its own: the same contract, over a lean process that never imports vLLM."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module, metadata
from inspect import signature
from typing import Any

from dp_coordinator.core.dialect import TESTED, Dialect
from dp_coordinator.handle import CoordinatorStartError
from dp_coordinator.handle import DPCoordinator as Handle
from dp_coordinator.options import ServeOptions
from dp_coordinator.process.bound import remove_if_present
from dp_coordinator.settings import SettingsError, shared
from dp_coordinator.vllm.refusal import log, refuse
from dp_coordinator.vllm.settings import in_variables, options_for

SHUTDOWN_AT_LEAST = 2.0
"""Seconds. vLLM's default is to kill at once; that would leave a supervisor no time to end what it supervises."""


def vllm_version() -> str:
    """The version of the vLLM that runs here, such as `0.32.0+cpu`."""
    version = getattr(import_module("vllm"), "__version__", None)
    return version if isinstance(version, str) else metadata.version("vllm")


class DPCoordinator(Handle):
    """Stands in for `vllm.v1.engine.coordinator.DPCoordinator`, vLLM 0.10.2 to 0.33."""

    def __init__(self, parallel_config: Any, enable_wave_coordination: bool = True, logging_config: Any = None) -> None:
        """Start the coordinator and wait until it is bound.

        `enable_wave_coordination` is given from 0.14 on, `logging_config` from 0.31 on (for vLLM's own process only).
        Ends the process with a sentence when a setting cannot be used.
        """
        del logging_config
        dialect = Dialect.for_version(vllm_version())
        if not dialect.tested:
            log.warning("dp-coordinator is tested with vLLM %s; this is %s.", TESTED, dialect.version)
        try:
            options = options_for(parallel_config.data_parallel_size, dialect.version, enable_wave_coordination)
            told = shared(options, ServeOptions) | addresses(parallel_config)
            super().__init__(supervised=options.supervised, **told)
            self._endpoints_file = options.endpoints_file
            if self._endpoints_file is not None:
                replace(self.bound, pid=self.proc.pid).write(self._endpoints_file)
        except (SettingsError, CoordinatorStartError) as error:
            refuse(in_variables(str(error)))
        except OSError as error:
            refuse(f"no folder for the coordinator's files ({error}): let TMPDIR name one that can be written")
        page = self.http_url or "none (DP_COORDINATOR_NO_HTTP)"
        log.info("dp-coordinator runs for %d engines. Dashboard: %s", options.engine_count, page)

    def shutdown(self, timeout: float | None = None) -> None:
        """End the process, within `timeout` seconds (but see `SHUTDOWN_AT_LEAST`). Further calls do nothing."""
        super().shutdown(timeout if timeout is None else max(timeout, SHUTDOWN_AT_LEAST))
        remove_if_present(self._endpoints_file)


def addresses(parallel_config: Any) -> dict[str, str]:
    """The addresses to bind, of the kind that this vLLM would bind (`coordinator.py`, `DPCoordinator.__init__`).

    front_publish is local unless there are front-ends elsewhere (external or hybrid load balancing); the engines'
    sockets are local when all engines are, except with elastic expert parallelism (0.17 on).
    """
    fronts_elsewhere = (
        parallel_config.local_engines_only
        if hasattr(parallel_config, "local_engines_only")  # 0.16 on; before that the two flags that it stands for
        else parallel_config.data_parallel_external_lb or parallel_config.data_parallel_hybrid_lb
    )
    engines_here = parallel_config.data_parallel_size == parallel_config.data_parallel_size_local
    engines_here = engines_here and not getattr(parallel_config, "enable_elastic_ep", False)
    host = parallel_config.data_parallel_master_ip
    return {
        "front_publish_address": _address(not fronts_elsewhere, host),
        "back_output_address": _address(engines_here, host),
        "back_publish_address": _address(engines_here, host),
    }


def _address(local: bool, host: str) -> str:
    """As vLLM's own helper makes it. From 0.20 on the kernel chooses TCP ports when they are bound."""
    theirs = import_module("vllm.v1.engine.coordinator")
    address: str = theirs.get_engine_client_zmq_addr(local, host)
    ports_come_back = "zmq_addr_pipe" in signature(theirs.DPCoordinatorProc.run_coordinator).parameters
    if local or not ports_come_back:
        return address
    return f"{address.rpartition(':')[0]}:0"
