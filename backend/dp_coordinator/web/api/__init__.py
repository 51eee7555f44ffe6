"""REST: routes, bodies, problems of bodies, OpenAPI, health and metrics."""
