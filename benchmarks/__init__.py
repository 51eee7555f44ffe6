"""Measures the coordinator side by side with vLLM's own loop: `python -m benchmarks` prints the table."""
