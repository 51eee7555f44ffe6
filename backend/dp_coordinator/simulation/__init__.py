"""A whole deployment without a model: engines with the wave behaviour of vLLM's, front-ends, and traffic."""
