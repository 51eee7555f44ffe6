"""An engine of your own behind a coordinator, blocking. Arguments: index, back_publish and back_output addresses.

Try it with: dp-coordinator serve --engine-count 1
"""

import sys

from dp_coordinator.client import EngineClient

index, back_publish, back_output = int(sys.argv[1]), sys.argv[2], sys.argv[3]
wave = 0

with EngineClient(index, back_publish, back_output) as coordinator:
    coordinator.wait_ready(timeout=60)
    print("READY: every engine is there", flush=True)
    coordinator.start_wave(wave)  # a request came in while paused: the other engines have to step along
    coordinator.report_stats(waiting=0, running=1, kv_cache_usage=0.25, step_counter=0, current_wave=wave)
    coordinator.report_stats(waiting=0, running=0, kv_cache_usage=0.0, step_counter=32, current_wave=wave)
    coordinator.wave_complete(wave)  # nobody has unfinished requests: rank 0 says so
    wave += 1
    start = coordinator.receive_start(timeout=60)  # paused, until another engine has work (or a person says so)
    while not start.wakes(index, wave):  # such as the answer to our own start_wave, which excludes us
        start = coordinator.receive_start(timeout=60)
    print(f"woken for wave {start.wave}", flush=True)
