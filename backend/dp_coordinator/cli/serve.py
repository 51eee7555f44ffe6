"""`dp-coordinator serve`."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import fields
from typing import NoReturn

from dp_coordinator import __version__
from dp_coordinator.endings import leave
from dp_coordinator.hosts import HttpAddress
from dp_coordinator.messages import Endpoints
from dp_coordinator.options import CommandOptions
from dp_coordinator.process import Bound
from dp_coordinator.process import serve as run_coordinator
from dp_coordinator.process.bound import remove_if_present
from dp_coordinator.settings import PREFIX
from dp_coordinator.supervised import previous_end


def serve(options: CommandOptions) -> int:
    """Run a coordinator until SIGINT or SIGTERM; print where everything is once it is bound."""
    if options.supervised:
        become_supervisor(options)
    file = options.endpoints_file
    remove_if_present(file)  # of an earlier run: whoever waits for the file must not find that one

    def on_bound(bound: Bound) -> None:
        if file is not None:
            bound.write(file)
        try:
            announce(bound, options)
        except OSError:
            if previous_end() is None:
                raise  # in a restart: the terminal may be gone by now

    try:
        return leave(run_coordinator(options, on_bound))
    finally:
        remove_if_present(file)


def become_supervisor(options: CommandOptions) -> NoReturn:
    """Turn this process into a supervisor, which runs the same command without `--supervised`."""
    sys.stdout.flush()
    worker = [sys.executable, "-m", "dp_coordinator", *(word for word in sys.argv[1:] if word != "--supervised")]
    supervisor = [sys.executable, "-m", "dp_coordinator.supervisor", "--hang-timeout", str(options.hang_timeout)]
    if options.journal is None:
        journal = nameless_file()
        supervisor += ["--pass-fd", str(journal)]
        worker += ["--journal", f"/dev/fd/{journal}"]
    environment = {name: value for name, value in os.environ.items() if name != f"{PREFIX}SUPERVISED"}
    os.execve(sys.executable, [*supervisor, "--", *worker], environment)  # noqa: S606


def nameless_file() -> int:
    """A descriptor, kept across exec, of a file that is nowhere: however its holders end, nothing of it is left.

    In memory, where the system can: there no disk is full.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dp-coordinator-journal")
        os.fchmod(descriptor, 0o600)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.set_inheritable(descriptor, True)
    return descriptor


def announce(bound: Bound, options: CommandOptions) -> None:
    """Tell a person where everything is."""
    waves = "" if options.wave_coordination else ", without wave coordination"
    lines = [
        f"dp-coordinator {__version__}, speaking vLLM {options.dialect}, for {options.engine_count} engines{waves}",
        *(f"  {end.name:<14} {getattr(bound, end.name)}" for end in fields(Endpoints)),
        f"  dashboard      {bound.http_url or 'none (--no-http)'}",
    ]
    if options.http is not None and HttpAddress.parse(options.http).everywhere:
        lines.append("                 and at every other address of this machine")
    print("\n".join(lines), flush=True)
