"""The three sockets and the loop that drives the core."""

from dp_coordinator.transport.loop import Loop, StartTimeoutError
from dp_coordinator.transport.sockets import BindError, Sockets

__all__ = ["BindError", "Loop", "Sockets", "StartTimeoutError"]
