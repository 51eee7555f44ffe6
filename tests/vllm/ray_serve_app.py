"""`build_dp_openai_app` with two ranks, run inside vLLM's environment: model, dashboard, port, what of the callback."""

from __future__ import annotations

import signal
import sys

import ray
from ray import serve
from ray.serve.llm import LLMConfig, build_dp_openai_app


def main(model: str, http: str, port: str, callback: str) -> None:
    """Run it until a signal comes. `callback` is the class's path, or empty."""
    ray.init(address="auto")
    variables = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    config = LLMConfig(
        model_loading_config={"model_id": "tiny", "model_source": model},
        engine_kwargs={
            "data_parallel_size": 2,
            "load_format": "dummy",
            "dtype": "float32",
            "enforce_eager": True,
            "max_model_len": 512,
            "max_num_seqs": 8,
            "max_num_batched_tokens": 512,
            "gpu_memory_utilization": 0.1,
        },
        log_engine_metrics=False,
        runtime_env={"env_vars": variables | {"GLOO_SOCKET_IFNAME": "lo", "DP_COORDINATOR_HTTP": http}},
        **({"callback_config": {"callback_class": callback}} if callback else {}),
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(build_dp_openai_app({"llm_config": config}), blocking=False)
    print("the application runs", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(*sys.argv[1:])
