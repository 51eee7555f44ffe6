"""Small modules with the shape that vLLM's have, by generation: what the plugin looks at, and nothing else.

Signatures and the lookup are vLLM's (`vllm/v1/engine/coordinator.py`, `utils.py`); the bodies are not.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import textwrap
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOCKETS = tempfile.mkdtemp(prefix="dpc-")
"""For ipc sockets: a path of more than 107 bytes cannot be bound, and pytest's own folders come near that."""
atexit.register(shutil.rmtree, SOCKETS, ignore_errors=True)

COORDINATOR = """
import socket
import uuid

CHOSEN = []

def get_engine_client_zmq_addr(local_only, host, port=0):
    if local_only:
        return f"ipc://{BASE}/{{uuid.uuid4()}}"
    if {CHOOSES}:
        with socket.create_server((host, 0)) as listener:
            port = listener.getsockname()[1]
    CHOSEN.append(f"tcp://{{host}}:{{port}}")
    return CHOSEN[-1]


class DPCoordinator:
    def __init__({CONSTRUCTOR}):
        raise AssertionError("this is vLLM's own coordinator")

    def get_stats_publish_address(self): ...

    def get_engine_socket_addresses(self): ...

    {END}


class DPCoordinatorProc:
    @staticmethod
    def run_coordinator(engine_count, {RUN}): ...
"""

UTILS = """
import contextlib
from vllm.v1.engine.coordinator import DPCoordinator

@contextlib.contextmanager
def launch_core_engines(parallel_config, **arguments):
    coordinator = DPCoordinator(parallel_config, **arguments)
    try:
        yield coordinator
    finally:
        {STOP}
"""


@dataclass(frozen=True)
class Generation:
    """The contract as one vLLM version has it."""

    version: str
    constructor: str = "self, parallel_config, enable_wave_coordination=True, logging_config=None"
    end: str = "def shutdown(self, timeout=None): ..."
    stop: str = "coordinator.shutdown(timeout=0.0)"
    hands_endpoints_back: bool = True
    helper_chooses_port: bool = False
    """get_engine_client_zmq_addr picks a free port itself."""
    local_engines_only: bool = True
    """Its ParallelConfig has that property (else: the two flags that it stands for)."""
    elastic: bool = True

    @property
    def arguments(self) -> dict[str, Any]:
        """What launch_core_engines gives the constructor besides parallel_config."""
        names = [part.split("=")[0].strip() for part in self.constructor.split(",")[2:]]
        return {name: {"enable_wave_coordination": True, "logging_config": object()}[name] for name in names}


OLD: dict[str, Any] = {
    "end": "def close(self): ...",
    "stop": "coordinator.close()",
    "hands_endpoints_back": False,
    "helper_chooses_port": True,
}
WITH_WAVES = "self, parallel_config, enable_wave_coordination=True"
GENERATIONS = (
    Generation("0.10.2", "self, parallel_config", local_engines_only=False, elastic=False, **OLD),
    Generation("0.14.0", WITH_WAVES, local_engines_only=False, elastic=False, **OLD),
    Generation("0.16.0", WITH_WAVES, elastic=False, **OLD),
    Generation("0.17.0", WITH_WAVES, **OLD),
    Generation("0.18.0", WITH_WAVES, hands_endpoints_back=False, helper_chooses_port=True),
    Generation("0.20.0", WITH_WAVES, helper_chooses_port=True),
    Generation("0.26.0", WITH_WAVES),
    Generation("0.28.0", WITH_WAVES),
    Generation("0.31.0"),
    Generation("0.32.0+cpu"),
    Generation("0.33.0"),
)
NEWEST = GENERATIONS[-1]


class ParallelConfig:
    """The fields of vLLM's ParallelConfig that its coordinator reads."""

    def __init__(
        self, generation: Generation, *, local: int = 2, fronts_elsewhere: bool = False, elastic: bool = False
    ) -> None:
        self.data_parallel_size = 2
        self.data_parallel_size_local = local
        self.data_parallel_master_ip = "127.0.0.1"
        if generation.local_engines_only:
            self.local_engines_only = fronts_elsewhere
        else:
            self.data_parallel_external_lb = False
            self.data_parallel_hybrid_lb = fronts_elsewhere
        if generation.elastic:
            self.enable_elastic_ep = elastic


def write(folder: Path, generation: Generation) -> None:
    """Put a package `vllm` of that generation into the folder."""
    engine = folder / "vllm" / "v1" / "engine"
    engine.mkdir(parents=True)
    for package in (engine, engine.parent):
        (package / "__init__.py").touch()
    (engine.parent.parent / "__init__.py").write_text(f"__version__ = {generation.version!r}\n")
    pipe = "zmq_addr_pipe=None, " if generation.hands_endpoints_back else ""
    text = COORDINATOR.format(
        BASE=SOCKETS,
        CHOOSES=generation.helper_chooses_port,
        CONSTRUCTOR=generation.constructor,
        END=generation.end,
        RUN=f"{pipe}enable_wave_coordination=True",
    )
    (engine / "coordinator.py").write_text(textwrap.dedent(text))
    (engine / "utils.py").write_text(textwrap.dedent(UTILS.format(STOP=generation.stop)))


def state(coordinator: Any) -> Any:
    """What REST says of a coordinator that the plugin started."""
    with urllib.request.urlopen(f"{coordinator.http_url}/api/v1/state", timeout=10) as answer:
        return json.load(answer)
