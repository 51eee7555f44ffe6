"""How long to look: a moment among the other tests, long where `make fuzz` asks for it."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES_VARIABLE = "DP_COORDINATOR_FUZZ_EXAMPLES"
"""How many examples of each kind; each time others, where it is set."""
_wanted = os.environ.get(EXAMPLES_VARIABLE)
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


def effort(short: int) -> settings:
    """For a test that looks at `short` examples, always the same, unless more are wanted."""
    if _wanted is None:
        return settings(deadline=None, max_examples=short, derandomize=True, database=None, suppress_health_check=SLOW)
    return settings(deadline=None, max_examples=int(_wanted), suppress_health_check=SLOW, print_blob=True)
