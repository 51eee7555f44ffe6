"""The coordinator as a pure state machine: events in, effects out, time passed as an argument.

Standard library only; no I/O, no clock, no thread. What its host must do, in order:

1. Make one `Coordinator`: with `resumed`, what the journal says, after an earlier incarnation has died; or by
   `from_checkpoint`, to go on exactly where another was. `now` is a monotonic clock in seconds and never goes back.
2. Give it what has arrived, one input at a time, by `handle(event, now)`. Of what is there at one moment, engines'
   subscriptions go first: until READY an engine must be sent nothing else.
3. Perform the effects of an input in their order, all of them, before the next input. WriteJournal comes before any
   send of the same input; where it cannot be written, what follows is sent all the same. An Answer goes to who asked.
4. Reports of load that arrive one after the other may be given at once, by `handle_reports`. It skips what `handle`
   does after each: a report moves no wave but where a message waits for a second witness. Everything else must keep its
   place among them.
5. When `next_deadline()` has passed, whatever has arrived meanwhile, call `tick(now)` and perform its effects. The
   deadline may be another one after each input: ask again before waiting.
6. Look at `snapshot(now)` for what people may see, at `state` or `checkpoint()` for all of it. Change nothing there.

An input may be rejected, and nothing that a peer can send makes any of these raise. If one does all the same, that is a
defect: the host drops the input and goes on with the next.
"""

from dp_coordinator.core.coordinator import Coordinator
from dp_coordinator.core.dialect import Dialect

__all__ = ["Coordinator", "Dialect"]
