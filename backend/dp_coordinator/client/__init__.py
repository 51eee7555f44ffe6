"""Put any data-parallel engine, or any API server, behind a coordinator.

`EngineClient` is an engine's side: subscribe, wait for READY, report load, say when a wave starts or ends, hear when to
join one. `FrontendClient` is a front-end's side: current load and wave state, which engine to send the next request to,
and the notice that older vLLM versions want. Each has an asyncio twin with the same names.

Runnable examples of about 20 lines each stand in docs/examples.
"""

from dp_coordinator.client.engine import AsyncEngineClient, EngineClient
from dp_coordinator.client.engine_protocol import StartWave
from dp_coordinator.client.errors import ClientError, NoEngineError, NotReadyError, ProtocolError
from dp_coordinator.client.frontend import AsyncFrontendClient, FrontendClient
from dp_coordinator.client.frontend_protocol import Load
from dp_coordinator.client.sockets import CurveKeys
from dp_coordinator.wire.client import EngineLoad

__all__ = [
    "AsyncEngineClient",
    "AsyncFrontendClient",
    "ClientError",
    "CurveKeys",
    "EngineClient",
    "EngineLoad",
    "FrontendClient",
    "Load",
    "NoEngineError",
    "NotReadyError",
    "ProtocolError",
    "StartWave",
]
