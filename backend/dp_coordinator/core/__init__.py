"""The coordinator as a pure state machine: events in, effects out, time passed as an argument.

Standard library only; no I/O, no clock, no thread. The host's duties, in order:

1. make one `Coordinator` and remember its `next_deadline()`;
2. for each input call `handle(event, now)` and perform the effects it returns, in their order;
3. when `next_deadline()` has passed call `tick(now)` and perform its effects, then ask for the next one;
4. `now` is a monotonic clock in seconds and never goes back.
"""

from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.core.dialect import Dialect

__all__ = ["Coordinator", "Dialect"]
