"""What a simulated engine, a simulated front-end and the demo can be told.

Each class is one command: `dp-coordinator engine`, `front-end` and `demo`. A field `step_ms` is the flag `--step-ms`,
a true-or-false field is a flag without a value, a tuple is a flag that may be repeated. `simulation.flags` builds an
argument parser from a class by these rules and turns options back into arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

from dp_coordinator import listening
from dp_coordinator.core.dialect import DEFAULT_VERSION

DEFAULT_COLLECTIVE_PORT = 5600


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """A simulated engine: one data-parallel rank with the wave behaviour of vLLM's engines."""

    index: int
    """This engine's index (its rank), from 0."""
    engine_count: int
    """How many ranks take part in the collective."""
    back_publish_address: str
    """Where the coordinator publishes READY and START_DP_WAVE."""
    back_output_address: str
    """Where the coordinator takes reports."""
    request_address: str
    """ZeroMQ address to bind for requests from front-ends, such as ipc:///run/engine-0 or tcp://0.0.0.0:5700."""
    collective: str
    """HOST:PORT of the collective: the stand-in for the ranks' process group."""
    host_collective: bool = False
    """Also bind that address and run the collective here; one rank does (rank 0, usually)."""
    dialect: str = DEFAULT_VERSION
    """The vLLM version whose engines are simulated."""
    step_ms: float = 20.0
    """Milliseconds that one step (a forward pass) takes."""
    max_num_seqs: int = 8
    """How many requests run at a time; the others wait."""
    kv_cache_tokens: int = 4096
    """Tokens that the key-value cache holds; kv_cache_usage is the share that running requests take."""
    ready_timeout_s: float = 120.0
    """Seconds to wait for READY before giving up."""
    parent_pid: int | None = None
    """Exit when this process is not the parent any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndOptions:
    """A simulated front-end (an API server): bursts of requests, routed by the load that the coordinator publishes."""

    front_publish_address: str
    """Where the coordinator publishes load and wave state."""
    engine_address: tuple[str, ...]
    """The engines' request addresses, in index order. Repeat the flag."""
    index: int = 0
    """This front-end's index, from 0."""
    front_end_count: int = 1
    """How many front-ends share the engines; each scales its own in-flight count by it."""
    dialect: str = DEFAULT_VERSION
    """The vLLM version whose front-ends are simulated."""
    no_traffic: bool = False
    """Send no requests: subscribe and listen only."""
    on_demand: bool = False
    """Send what is asked for on stdin: a line is a number of requests. When all are answered, print the totals."""
    rate: float = 16.0
    """Requests a second within a burst, of this front-end."""
    cycle_s: float = 12.0
    """Seconds from the start of one burst to the start of the next; what a burst leaves of it is a pause."""
    burst_min_s: float = 4.0
    """Shortest burst, in seconds."""
    burst_max_s: float = 7.0
    """Longest burst, in seconds; drawn by seed and cycle, so front-ends of one seed pause together."""
    epoch: float = 0.0
    """Unix time at which a cycle started."""
    min_steps: int = 10
    """Fewest steps that a request takes."""
    max_steps: int = 80
    """Most steps that a request takes."""
    seed: int = 1
    """Makes the traffic repeatable."""
    requests: int = 0
    """Exit after so many requests have finished; 0 means never."""
    request_timeout_s: float = 10.0
    """Seconds after which an unanswered request is sent to another engine; 0 means never."""
    parent_pid: int | None = None
    """Exit when this process is not the parent any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """A whole deployment on this machine: coordinator, engines, front-ends and the dashboard."""

    engines: int = 4
    """How many simulated engines."""
    front_ends: int = 2
    """How many simulated front-ends."""
    http: str = listening.DEFAULT
    """HOST:PORT of the dashboard, or HOST:FIRST-LAST for the first port that is free."""
    dialect: str = DEFAULT_VERSION
    """The vLLM version that all of them speak."""
    no_traffic: bool = False
    """Send no requests: the stack stays paused, to try a manual start on."""
    step_ms: float = 20.0
    """Milliseconds that one step takes."""
    rate: float = 16.0
    """Requests a second of each front-end within a burst."""
    seed: int = 1
    """Makes the traffic repeatable."""
    supervised: bool = False
    """Keep the coordinator alive too: it is started again when it dies, and goes on where it was."""
    record: str | None = None
    """Folder to which everything that enters the coordinator's core is written."""
    respawn_after_s: float = 3.0
    """Seconds until an engine or front-end that died is started again."""
    parent_pid: int | None = None
    """Exit when this process is not the parent any more."""
