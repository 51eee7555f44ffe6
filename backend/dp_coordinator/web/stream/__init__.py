"""`WS /api/v1/stream`: what is sampled, encoded once and sent to every viewer."""
