"""The command `dp-coordinator`.

Nothing heavy is imported until a command that needs it runs, so `--help` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence

INTERRUPTED = 130
"""The exit code after Ctrl-C, as a shell has it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `dp-coordinator` with these arguments (the process's own if None) and return its exit code."""
    try:
        from dp_coordinator.cli.entry import run  # noqa: PLC0415  (takes a tenth of a second, in which Ctrl-C may come)

        return run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
