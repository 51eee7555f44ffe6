"""Keeps a coordinator alive: `python -m dp_coordinator.supervisor [--parent PID] [--scratch DIR] -- COMMAND ...`.

It starts COMMAND (the worker), starts it again when it dies or hangs, passes signals on, and does nothing else: a
process that does next to nothing has next to nothing to die of. It imports the standard library alone. What the worker
needs to come back is in its journal. A worker says that it serves, and from time to time that it lives (`supervised`);
one that is silent for --hang-timeout seconds is killed. Once one has served, another is started whatever it takes.

Each worker inherits stdin from its beginning (when that is a file), stdout, stderr, and the descriptors of --pass-fd.
Ends with the worker's exit code when it was told to end, or when the first worker says that a setting is wrong (2) or
any says that engines are missing (3); with 4 when it gives up. Takes --scratch away at the end.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from dp_coordinator import endings
from dp_coordinator.logs import open_missing_streams
from dp_coordinator.supervised import (
    ALIVE,
    EXIT_SETTINGS,
    EXIT_START_TIMEOUT,
    HANG_TIMEOUT_S,
    PREVIOUS_END_VARIABLE,
    SERVING,
    SUPERVISOR_VARIABLE,
)

log = logging.getLogger("dp_coordinator.supervisor")

EXIT_GAVE_UP = 4
"""The supervisor's own: no coordinator ever came to serve."""
EXIT_NOT_STARTED = 126
"""Stands for a worker that could not even be started."""
INSTANT_S = 0.5
"""A worker that never served, or not for so long, died instantly: something is wrong with more than that one."""
INSTANT_DEATHS = 10
"""In a row, before any served longer; then it gives up."""
PAUSES_S = (0.0, 0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0)
"""Before the next start, by the number of instant deaths; the last one from there on."""
GRACE_S = 10.0
"""From being told to end to SIGKILL."""
CATCH_UP_S = 0.3
"""For one that hangs, from SIGCONT to SIGKILL."""
TICK_S = 0.5
"""Longest wait: the parent is looked for, and time counts as the worker's silence, in such steps at most."""
OVERSLEPT_S = 0.25
"""A wait that lasts so much longer than asked for: this process was stopped, or the whole machine."""
START_PATIENCE_S = 60.0
"""For a worker that has not yet given a sign of life: Python and its imports may have to come from a slow disk."""
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """One worker after the other."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        parent: int | None = None,
        pass_fds: Sequence[int] = (),
        hang_timeout: float = HANG_TIMEOUT_S,
    ) -> None:
        self._command = list(command)
        self._parent = parent
        self._pass_fds = tuple(pass_fds)
        self._hang_timeout = hang_timeout
        self._told_to_end = False
        self._worker: subprocess.Popen[bytes] | None = None
        self._serving_since: float | None = None
        self._silent_s = self._patience_s = 0.0
        self._previous_end: str | None = None
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited as ignored, it would have the kernel drop exit codes
        self._ending = endings.heeded()
        self._ignored = endings.Ignored()
        self._heard = self._ending | endings.stray() | {signal.SIGCHLD, SERVING, ALIVE}
        signal.pthread_sigmask(signal.SIG_BLOCK, self._heard)
        self._in_the_child = _in_the_child(self._heard)

    def run(self) -> int:
        """Keep a worker alive until told to end, or until that is pointless; returns the exit code."""
        instant_deaths = incarnations = 0
        established = False
        while not self._told_to_end:
            code, hung = self._live()
            incarnations += 1
            served = 0.0 if self._serving_since is None else time.monotonic() - self._serving_since
            if self._told_to_end:
                return code
            if code == EXIT_START_TIMEOUT or (code == EXIT_SETTINGS and incarnations == 1):
                return code  # it has said itself what is wrong
            established |= served >= INSTANT_S
            instant_deaths = instant_deaths + 1 if served < INSTANT_S else 0
            how = f"{_ending(code, hung)} {f'after it served {served:.1f} s' if served else 'at its start'}"
            if instant_deaths >= INSTANT_DEATHS and not established:
                log.error("the coordinator %s, the %dth time in a row: giving up", how, instant_deaths)
                return EXIT_GAVE_UP
            log.warning("the coordinator %s; starting it again (restart %d)", how, incarnations)
            self._previous_end = how
            self._pause(PAUSES_S[min(instant_deaths, len(PAUSES_S) - 1)])
        return 0

    def _live(self) -> tuple[int, float | None]:
        """Start a worker and wait for its end: its exit code, and how long it was silent if it was killed for that."""
        self._serving_since, self._silent_s, self._patience_s = None, 0.0, max(START_PATIENCE_S, self._hang_timeout)
        try:
            self._worker = worker = self._start()
        except OSError as error:  # no memory or processes left, for the moment
            log.error("the coordinator cannot be started: %s", error)
            return EXIT_NOT_STARTED, None
        hung = None
        while worker.poll() is None and not self._told_to_end:
            if self._silent_s >= self._patience_s:
                hung = self._silent_s
                self._let_catch_up(worker)
                worker.kill()
                worker.wait()
            else:
                self._wait(min(TICK_S, self._patience_s - self._silent_s))
        while self._wait(0.0):
            pass  # one that served for a moment may have said so meanwhile
        return self._end(worker), hung

    def _let_catch_up(self, worker: subprocess.Popen[bytes]) -> None:
        """One that was merely stopped takes in what was sent to it meanwhile, and journals it, before it is killed.

        All of that would be lost with it, and the recovery is safe for the loss of a single message (`core.recovery`).
        """
        worker.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + CATCH_UP_S
        while worker.poll() is None and (left := deadline - time.monotonic()) > 0:
            self._wait(left)

    def _start(self) -> subprocess.Popen[bytes]:
        with suppress(OSError):
            os.lseek(0, 0, os.SEEK_SET)  # its settings may stand there
        environment = os.environ | {SUPERVISOR_VARIABLE: str(os.getpid())}
        if self._previous_end is not None:
            environment[PREVIOUS_END_VARIABLE] = self._previous_end
        return subprocess.Popen(  # noqa: S603
            self._command,
            pass_fds=self._pass_fds,
            env=environment,
            preexec_fn=self._in_the_child,  # noqa: PLW1509  (there is one thread)
        )

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._told_to_end and (left := deadline - time.monotonic()) > 0:
            self._wait(min(TICK_S, left))

    def _wait(self, seconds: float) -> bool:
        """Take in the next signal, if one comes in time; whether one did."""
        before = time.monotonic()
        came = endings.wait(self._heard, seconds)
        took = time.monotonic() - before
        # When we were stopped ourselves, the worker probably was, too: from now on it gets its full time again.
        self._silent_s = 0.0 if took > seconds + OVERSLEPT_S else self._silent_s + min(took, seconds)
        if came is not None:
            self._heed(came)
        if self._parent is not None and os.getppid() != self._parent and not self._told_to_end:
            log.info("ending: the process that started this supervisor (%d) is gone", self._parent)
            self._told_to_end = True
        return came is not None

    def _heed(self, came: endings.Came) -> None:
        if came.number in self._ending:
            if not self._told_to_end:
                log.info("ending: %s", came.text)
            self._told_to_end = True
        elif came.number in {SERVING, ALIVE} and self._worker is not None and came.sender in {None, self._worker.pid}:
            self._silent_s, self._patience_s = 0.0, self._hang_timeout
            if came.number == SERVING:
                self._serving_since = time.monotonic()
        elif came.number != signal.SIGCHLD:
            self._ignored.add(came)

    def _end(self, worker: subprocess.Popen[bytes]) -> int:
        """Its exit code; when it still runs it is told to end, and made to."""
        if worker.poll() is None:
            # It ignores what we ignore.
            worker.send_signal(next((number for number in endings.ENDING if number in self._ending), signal.SIGKILL))
            try:
                worker.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                log.warning("the coordinator did not end within %g s of being told to: killing it", GRACE_S)
                worker.kill()
        return worker.wait()


def _in_the_child(heard: frozenset[int]) -> Callable[[], None]:
    """What a new worker does before it becomes one: take signals again, and die with us.

    A stopped worker cannot see that its supervisor is gone, so the kernel kills it then (Linux). It does so at the end
    of the *thread* that started it, which here is the only one.
    """
    supervisor = os.getpid()
    prctl = getattr(ctypes.CDLL(None), "prctl", None)

    def prepare() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:
                os.kill(os.getpid(), signal.SIGKILL)  # it died before it could be named
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)

    return prepare


def _ending(code: int, hung: float | None) -> str:
    if hung is not None:
        return f"gave no sign of life for {hung:.1f} s and was killed"
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    open_missing_streams()
    parser = argparse.ArgumentParser("dp_coordinator.supervisor", allow_abbrev=False)
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    parser.add_argument("--pass-fd", type=int, action="append", default=[], help="a descriptor for the worker")
    parser.add_argument("--hang-timeout", type=float, default=HANG_TIMEOUT_S, help="seconds of silence before a kill")
    parser.add_argument("--scratch", help="a folder to remove at the end")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    supervisor = Supervisor(given.command, parent=given.parent, pass_fds=given.pass_fd, hang_timeout=given.hang_timeout)
    try:
        code = supervisor.run()
        return code if code >= 0 else 128 - code  # as a shell tells a signal
    finally:
        if given.scratch is not None:
            shutil.rmtree(given.scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
