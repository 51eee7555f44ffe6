"""The command `dp-coordinator`.

Nothing heavy is imported until a command that needs it runs, so `--help` answers at once.
"""

from dp_coordinator.cli.main import main

__all__ = ["main"]
