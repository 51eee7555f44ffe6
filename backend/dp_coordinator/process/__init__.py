"""A coordinator on this thread: everything put together, until a signal comes."""

from dp_coordinator.process.bound import Bound
from dp_coordinator.process.composition import EXIT_OK, EXIT_WEB, serve

__all__ = ["EXIT_OK", "EXIT_WEB", "Bound", "serve"]
