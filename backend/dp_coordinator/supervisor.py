"""Keeps a coordinator alive: `python -m dp_coordinator.supervisor [--parent PID] [--scratch DIR] -- COMMAND ...`.

It starts COMMAND (the worker), starts it again when it dies, passes signals on, and does nothing else: a process that
does next to nothing has next to nothing to die of. It imports the standard library and wakeup.py alone. What the
worker needs to come back is in its journal. A worker says that it serves by `say_serving`; one that was killed after
that comes back at once, however often.

Each worker inherits stdin from its beginning (when that is a file), stdout, stderr, and the descriptors of --pass-fd.
Ends with the worker's exit code when it was told to end, or when the first worker says that a setting is wrong (2) or
any says that engines are missing (3); with 4 when it gives up. Takes --scratch away at the end.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from dp_coordinator.wakeup import WakeUp

log = logging.getLogger("dp_coordinator.supervisor")

SUPERVISOR_VARIABLE = "DP_COORDINATOR_SUPERVISOR_PID"
"""Tells the worker whose child it is: it ends when that is no longer its parent."""
EXIT_SETTINGS = 2
"""A coordinator's exit code: a setting is wrong or an address cannot be bound."""
EXIT_START_TIMEOUT = 3
"""A coordinator's exit code: not every engine subscribed within --start-timeout."""
EXIT_GAVE_UP = 4
"""The supervisor's own: the coordinator died instantly again and again."""
SERVING = signal.SIGUSR1
"""What a worker that serves sends to its supervisor."""
INSTANT_S = 0.5
"""A worker that never served, or not for so long, died instantly: something is wrong with more than that one."""
INSTANT_DEATHS = 10
"""In a row; then it gives up."""
PAUSES_S = (0.0, 0.0, 0.1, 0.2, 0.4, 0.8)
"""Before the next start, by the number of instant deaths; the last one from there on."""
GRACE_S = 10.0
"""From SIGTERM to SIGKILL."""
PARENT_CHECK_S = 1.0


def supervisor_pid() -> int | None:
    """The process that supervises this one; None when this is no supervised worker."""
    told = os.environ.get(SUPERVISOR_VARIABLE, "")
    return int(told) if told.isdigit() else None


def say_serving() -> None:
    """Tell the supervisor, if there is one, that this worker has begun to serve."""
    supervisor = supervisor_pid()
    if supervisor is not None and supervisor == os.getppid():
        os.kill(supervisor, SERVING)


class Supervisor:
    """One worker after the other."""

    def __init__(self, command: Sequence[str], *, parent: int | None = None, pass_fds: Sequence[int] = ()) -> None:
        self._command = list(command)
        self._parent = parent
        self._pass_fds = tuple(pass_fds)
        self._told_to_end = False
        self._serving_since: float | None = None
        self._signals = WakeUp()

    def run(self) -> int:
        """Keep a worker alive until told to end, or until that is pointless; returns the exit code."""
        with self._signals.on_signals(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, SERVING):
            return self._run()

    def _run(self) -> int:
        instant_deaths = incarnations = 0
        while not self._told_to_end:
            code = self._live()
            incarnations += 1
            served = 0.0 if self._serving_since is None else time.monotonic() - self._serving_since
            if self._told_to_end:
                return code
            if code == EXIT_START_TIMEOUT or (code == EXIT_SETTINGS and incarnations == 1):
                return code  # it has said itself what is wrong
            instant_deaths = instant_deaths + 1 if served < INSTANT_S else 0
            how = f"the coordinator {_ending(code)} {f'after it served {served:.1f} s' if served else 'at its start'}"
            if instant_deaths >= INSTANT_DEATHS:
                log.error("%s, the %dth time in a row: giving up", how, instant_deaths)
                return EXIT_GAVE_UP
            log.warning("%s; starting it again (restart %d)", how, incarnations)
            self._wait(PAUSES_S[min(instant_deaths, len(PAUSES_S) - 1)])
        return 0

    def _live(self) -> int:
        with suppress(OSError):
            os.lseek(0, 0, os.SEEK_SET)  # its settings may stand there
        self._serving_since = None
        environment = os.environ | {SUPERVISOR_VARIABLE: str(os.getpid())}
        worker = subprocess.Popen(self._command, pass_fds=self._pass_fds, env=environment)  # noqa: S603
        while worker.poll() is None and not self._told_to_end:
            self._wait(None)
        self._heed()  # one that served for a moment may have said so meanwhile
        return self._end(worker)

    def _wait(self, seconds: float | None) -> None:
        """Until a signal came, `seconds` have passed, or the parent has gone."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._told_to_end:
            left = PARENT_CHECK_S if deadline is None else min(PARENT_CHECK_S, deadline - time.monotonic())
            if select.select([self._signals], [], [], max(0.0, left))[0]:
                self._heed()
                if seconds is None:
                    return
            if self._parent is not None and os.getppid() != self._parent:
                self._told_to_end = True
            if deadline is not None and time.monotonic() >= deadline:
                return

    def _heed(self) -> None:
        """Take in the signals that have come."""
        numbers = self._signals.drain()
        if SERVING in numbers:
            self._serving_since = time.monotonic()
        self._told_to_end |= bool(numbers - {signal.SIGCHLD, SERVING})

    def _end(self, worker: subprocess.Popen[bytes]) -> int:
        """Its exit code; when it still runs it is told to end, and made to."""
        if worker.poll() is None:
            worker.terminate()
            try:
                worker.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                log.warning("the coordinator did not end within %g s of SIGTERM: killing it", GRACE_S)
                worker.kill()
        return worker.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser("dp_coordinator.supervisor", allow_abbrev=False)
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    parser.add_argument("--pass-fd", type=int, action="append", default=[], help="a descriptor for the worker")
    parser.add_argument("--scratch", help="a folder to remove at the end")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return Supervisor(given.command, parent=given.parent, pass_fds=given.pass_fd).run()
    finally:
        if given.scratch is not None:
            shutil.rmtree(given.scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
