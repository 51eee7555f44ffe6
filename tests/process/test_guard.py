"""The process's own limit of memory, and what is given back after trouble."""

from __future__ import annotations

import subprocess
import sys

import pytest

TAKE = """
import sys
from dp_coordinator.process.guard import limit_memory
limit_memory(int(sys.argv[1]))
try:
    taken = bytearray(300 << 20)
except MemoryError:
    sys.exit(7)
"""


@pytest.mark.parametrize(("megabytes", "ends_with"), [(64, 7), (600, 0), (0, 0)])
def test_memory_beyond_the_limit_is_refused(megabytes: int, ends_with: int) -> None:
    assert subprocess.run([sys.executable, "-c", TAKE, str(megabytes)], check=False).returncode == ends_with
