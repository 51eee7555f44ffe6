"""A front-end (API server) of your own behind a coordinator, blocking. Argument: the front_publish address."""

import sys

from dp_coordinator.client import FrontendClient

with FrontendClient(sys.argv[1]) as coordinator:
    while coordinator.load is None:
        coordinator.wait_update(timeout=60)
    for index, engine in enumerate(coordinator.load.engines):
        print(f"engine {index}: {engine.waiting} waiting, {engine.running} running", flush=True)
    chosen = coordinator.pick_engine()  # the least loaded; the request counts as in flight there from now on
    print(f"send it to engine {chosen}, stamped with wave {coordinator.current_wave}", flush=True)
    coordinator.notify_new_request(chosen)  # only vLLM through 0.32 wants to know; otherwise this does nothing
    coordinator.request_finished(chosen)  # when the answer is complete
    while not coordinator.engines_running:
        coordinator.wait_update(timeout=60)
    print(f"engines run wave {coordinator.current_wave}", flush=True)
