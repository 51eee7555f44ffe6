"""What a simulated engine, a simulated front-end and the demo can be told.

Each class is one command: `dp-coordinator engine`, `front-end` and `demo`; see `dp_coordinator.settings`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dp_coordinator import values as v
from dp_coordinator.core.dialect import DEFAULT_VERSION
from dp_coordinator.hosts import HttpPorts
from dp_coordinator.options import DEFAULT_HTTP, LogLevel, ParentPid
from dp_coordinator.urls import Name, Peers


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """A simulated engine: one data-parallel rank with the wave behaviour of vLLM's engines."""

    index: v.Index
    """This engine's index (its rank), from 0."""
    engine_count: v.Count
    """How many ranks take part in the collective."""
    back_publish_address: v.ZmqAddress
    """Where the coordinator publishes READY and START_DP_WAVE."""
    back_output_address: v.ZmqAddress
    """Where the coordinator takes reports."""
    request_address: v.ZmqAddress
    """Where front-ends send requests: a ZeroMQ address to bind, such as ipc:///run/engine-0 or tcp://0.0.0.0:5700."""
    collective: v.HostPort
    """HOST:PORT of the collective: the stand-in for the ranks' process group."""
    host_collective: v.Switch = False
    """Also bind that address and run the collective here; one rank does (rank 0, usually)."""
    dialect: v.Version = DEFAULT_VERSION
    """The vLLM version whose engines are simulated."""
    step_ms: v.Amount = 20.0
    """Milliseconds that one step (a forward pass) takes."""
    max_num_seqs: v.Count = 8
    """How many requests run at a time; the others wait."""
    kv_cache_tokens: v.Count = 4096
    """Tokens that the key-value cache holds; kv_cache_usage is the share that running requests take."""
    ready_timeout_s: v.Amount = 120.0
    """Seconds to wait for READY before giving up."""
    log_level: LogLevel = "info"
    """Debug, info, warning or error."""
    parent_pid: ParentPid = None
    """Exit when this process is not the parent any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndOptions:
    """A simulated front-end (an API server): bursts of requests, routed by the load that the coordinator publishes."""

    front_publish_address: v.ZmqAddress
    """Where the coordinator publishes load and wave state."""
    engine_address: tuple[v.ZmqAddress, ...]
    """The engines' request addresses, in index order. Repeat the flag."""
    index: v.Index = 0
    """This front-end's index, from 0."""
    front_end_count: v.Count = 1
    """How many front-ends share the engines; each scales its own in-flight count by it."""
    dialect: v.Version = DEFAULT_VERSION
    """The vLLM version whose front-ends are simulated."""
    no_traffic: v.Switch = False
    """Send no requests: subscribe and listen only."""
    on_demand: v.Switch = False
    """Send what is asked for on stdin: a line is a number of requests. When all are answered, print the totals."""
    rate: v.Amount = 16.0
    """Requests a second within a burst, of this front-end."""
    cycle_s: v.Amount = 12.0
    """Seconds from the start of one burst to the start of the next; what a burst leaves of it is a pause."""
    burst_min_s: v.Amount = 4.0
    """Shortest burst, in seconds."""
    burst_max_s: v.Amount = 7.0
    """Longest burst, in seconds; drawn by seed and cycle, so front-ends of one seed pause together."""
    epoch: v.Amount = 0.0
    """When a cycle started, in Unix time."""
    min_steps: v.Count = 10
    """Fewest steps that a request takes."""
    max_steps: v.Count = 80
    """Most steps that a request takes."""
    seed: v.Index = 1
    """Makes the traffic repeatable."""
    requests: v.Index = 0
    """Exit after so many requests have finished; 0 means never."""
    request_timeout_s: v.Amount = 10.0
    """Seconds after which an unanswered request is sent to another engine; 0 means never."""
    log_level: LogLevel = "info"
    """Debug, info, warning or error."""
    parent_pid: ParentPid = None
    """Exit when this process is not the parent any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """A whole deployment on this machine: coordinator, engines, front-ends and the dashboard."""

    engines: v.Count = 4
    """How many simulated engines."""
    front_ends: v.Index = 2
    """How many simulated front-ends."""
    http: HttpPorts = DEFAULT_HTTP
    """HOST:PORT of the dashboard, or HOST:FIRST-LAST for the first port that is free."""
    name: Name = ""
    """What the deployment is called, on the page and in messages, such as prod-moe-eu."""
    peers: Peers | None = None
    """Other coordinators that the page shows in a row each, by their addresses: two demos show each other."""
    dialect: v.Version = DEFAULT_VERSION
    """The vLLM version that all of them speak."""
    no_traffic: v.Switch = False
    """Send no requests: the stack stays paused, to try a manual start on."""
    step_ms: v.Amount = 20.0
    """Milliseconds that one step takes."""
    rate: v.Amount = 16.0
    """Requests a second of each front-end within a burst."""
    seed: v.Index = 1
    """Makes the traffic repeatable."""
    supervised: v.Switch = False
    """Keep the coordinator alive too: it is started again when it dies, and goes on where it was."""
    record: v.Folder | None = None
    """Folder to which everything that enters the coordinator's core is written."""
    respawn_after_s: v.Amount = 3.0
    """Seconds until an engine or front-end that died is started again."""
    log_level: LogLevel = "info"
    """Debug, info, warning or error."""
    parent_pid: ParentPid = None
    """Exit when this process is not the parent any more."""
