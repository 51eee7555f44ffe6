"""Signals that the parents of a supervisor decided on, and what it says of those that end it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.run import announced, rest, running
from tests.process.test_supervisor import SAYS_PID, WORKER_DONE, gone, piped, supervised

IGNORES = (
    "import os, signal, sys; [signal.signal(getattr(signal, n), signal.SIG_IGN) for n in sys.argv[1].split(',')]; "
)


@contextlib.contextmanager
def supervised_by_one_that_ignores(names: str, *worker: str) -> Iterator[Any]:
    """As under `nohup` (SIGHUP), and under a shell's `&` (SIGINT, SIGQUIT)."""
    code = (
        IGNORES + "os.execv(sys.executable, [sys.executable, '-m', 'dp_coordinator.supervisor', '--', *sys.argv[2:]])"
    )
    command = [sys.executable, "-c", code, names, sys.executable, "-c", *worker]
    with piped(command) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(WORKER_DONE)


SAYS_WHAT_IT_IGNORES = (
    "import signal, time; print([n.name for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)"
    " if signal.getsignal(n) is signal.SIG_IGN], sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), flush=True);"
    f"{SAYS_PID}"
)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGQUIT"])
def test_what_was_ignored_when_it_started_stays_so_for_it_and_its_workers(name: str) -> None:
    with supervised_by_one_that_ignores(name, SAYS_WHAT_IT_IGNORES) as process:
        for _ in range(2):
            assert process.stdout.readline() == f"['{name}'] []\n"
            worker = int(process.stdout.readline())
            process.send_signal(getattr(signal, name))
            os.kill(worker, getattr(signal, name))
            os.kill(worker, signal.SIGKILL)  # and then it is started again, for the supervisor was not told to end
            assert "was ended by SIGKILL" in process.stderr.readline()


def test_a_worker_that_ignores_sigterm_with_its_supervisor_is_ended_otherwise() -> None:
    with supervised_by_one_that_ignores("SIGTERM", f"import signal, sys; {SAYS_PID}") as process:
        worker = int(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.wait(WORKER_DONE)
        assert gone(worker)
        assert "killing it" not in process.stderr.read()


def test_ignored_deaths_of_children_do_not_hide_their_exit_codes() -> None:
    """With SIGCHLD ignored the kernel forgets exit codes, and who waits for one is told 0."""
    with supervised_by_one_that_ignores("SIGCHLD", "raise SystemExit(2)") as process:
        assert process.wait(WORKER_DONE) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_its_end_says_which_signal_and_from_whom(number: signal.Signals) -> None:
    with supervised(SAYS_PID) as process:
        process.stdout.readline()
        process.send_signal(number)
        process.wait(WORKER_DONE)
        assert f"ending: {number.name} from process {os.getpid()} (" in process.stderr.read()


def test_it_says_that_its_parent_is_gone() -> None:
    parent = (
        "import os, subprocess, sys\n"
        "s = subprocess.Popen([sys.executable, '-m', 'dp_coordinator.supervisor', '--parent', str(os.getpid()), '--',\n"
        "                      sys.executable, '-c', sys.argv[1]])\n"
        "s.wait()"
    )
    command = [sys.executable, "-c", parent, SAYS_PID]
    with piped(command) as process:
        process.stdout.readline()
        process.kill()
        assert f"the process that started this supervisor ({process.pid}) is gone" in process.stderr.readline()


def test_a_worker_that_had_to_be_killed_makes_an_exit_code_of_the_shells() -> None:
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SAYS_PID}"
    with supervised(deaf, constants="s.GRACE_S = 0.1") as process:
        process.stdout.readline()
        process.terminate()
        assert process.wait(WORKER_DONE) == 128 + signal.SIGKILL


HELD_UP = (
    "import os, signal, time, dp_coordinator.endings as e; e.GIVE_UP_S = 0.1\n"
    "with e.told_to_end() as told:\n"
    "    os.kill(os.getpid(), signal.SIGTERM)\n"
    "    time.sleep(600)"
)
HELD_UP_BY_A_THREAD = (
    "import sys, threading, time, dp_coordinator.endings as e; e.LEAVE_S = 0.1\n"
    "threading.Thread(target=time.sleep, args=(600,)).start(); sys.exit(e.leave(3))"
)


@pytest.mark.parametrize(("code", "returned"), [(HELD_UP, 137), (HELD_UP_BY_A_THREAD, 3)], ids=["start", "thread"])
def test_what_waits_for_ever_does_not_hold_up_the_end(code: str, returned: int) -> None:
    """As a file does on a server that does not answer, or a name server."""
    with piped([sys.executable, "-c", code]) as process:
        try:
            assert process.wait(WORKER_DONE) == returned
        finally:
            process.kill()


def send_stray_ones(process: Any) -> None:
    """Batch systems warn a whole job so; each would end a process that does nothing about it."""
    names = ("ALRM", "USR1", "USR2", "VTALRM", "PROF", "IO", "PWR", "XCPU")
    for number in (*(getattr(signal, f"SIG{name}") for name in names), signal.SIGRTMIN + 1, signal.SIGRTMAX):
        process.send_signal(number)
        process.send_signal(number)
        while f"from process {os.getpid()} (" not in (line := process.stderr.readline()):
            assert line, f"signal {number} ended it"
        assert "ignoring SIG" in line


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are others")
def test_signals_that_ask_for_nothing_end_neither_supervisor_nor_coordinator() -> None:
    with supervised(SAYS_PID) as process:
        worker = int(process.stdout.readline())
        send_stray_ones(process)
        os.kill(worker, 0)
    with running("serve", "--engine-count=2", "--no-http") as process:
        announced(process)
        send_stray_ones(process)
        process.terminate()
        assert process.wait(WORKER_DONE) == 0
        assert "stopping: SIGTERM" in rest(process.stderr)
