"""A front-end (API server) of your own behind a coordinator, with asyncio. Argument: the front_publish address."""

import asyncio
import sys

from dp_coordinator.client import AsyncFrontendClient


async def main(front_publish: str) -> None:
    """Pick an engine for one request, then wait until the engines run."""
    async with AsyncFrontendClient(front_publish) as coordinator:
        while coordinator.load is None:
            await coordinator.wait_update(timeout=60)
        for index, engine in enumerate(coordinator.load.engines):
            print(f"engine {index}: {engine.waiting} waiting, {engine.running} running", flush=True)
        chosen = coordinator.pick_engine()  # the least loaded; the request counts as in flight there from now on
        print(f"send it to engine {chosen}, stamped with wave {coordinator.current_wave}", flush=True)
        await coordinator.notify_new_request(chosen)  # only vLLM through 0.32 wants to know
        coordinator.request_finished(chosen)  # when the answer is complete
        while not coordinator.engines_running:
            await coordinator.wait_update(timeout=60)
        print(f"engines run wave {coordinator.current_wave}", flush=True)


asyncio.run(main(sys.argv[1]))
