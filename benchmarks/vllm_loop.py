"""Runs vLLM's own, unmodified coordinator loop. Executed by a Python that can import vllm, not by ours.

Usage: python vllm_loop.py ENGINE_COUNT FRONT_PUBLISH BACK_OUTPUT BACK_PUBLISH
"""

import logging
import sys

from vllm.v1.engine.coordinator import DPCoordinatorProc

if __name__ == "__main__":
    # In its favour: its warning of every engine that is a little behind another would cost more than the report itself.
    logging.getLogger("vllm").setLevel(logging.ERROR)
    engine_count, front_publish, back_output, back_publish = sys.argv[1:]
    DPCoordinatorProc.run_coordinator(
        engine_count=int(engine_count),
        front_publish_address=front_publish,
        back_output_address=back_output,
        back_publish_address=back_publish,
    )
