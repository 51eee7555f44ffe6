"""A coordinator on this thread: everything put together, until a signal comes."""

from dp_coordinator.process.bound import Bound
from dp_coordinator.process.composition import serve

__all__ = ["Bound", "serve"]
