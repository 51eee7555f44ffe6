"""A data-parallel coordinator for vLLM and other engines, made visible."""

__version__ = "0.2.0"
