"""An engine of your own behind a coordinator, asyncio. Arguments: index, back_publish and back_output addresses."""

import asyncio
import sys

from dp_coordinator.client import AsyncEngineClient


async def main(index: int, back_publish: str, back_output: str) -> None:
    """Run one wave, then wait to be woken for the next."""
    wave = 0
    async with AsyncEngineClient(index, back_publish, back_output) as coordinator:
        await coordinator.wait_ready(timeout=60)
        print("READY: every engine is there", flush=True)
        await coordinator.start_wave(wave)  # a request came in while paused: the other engines have to step along
        await coordinator.report_stats(waiting=0, running=1, kv_cache_usage=0.25, step_counter=0, current_wave=wave)
        await coordinator.report_stats(waiting=0, running=0, step_counter=32, current_wave=wave)
        await coordinator.wave_complete(wave)  # nobody has unfinished requests: rank 0 says so
        wave += 1
        start = await coordinator.receive_start(timeout=60)
        while not start.wakes(index, wave):  # such as the answer to our own start_wave, which excludes us
            start = await coordinator.receive_start(timeout=60)
        print(f"woken for wave {start.wave}", flush=True)


asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
