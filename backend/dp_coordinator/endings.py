"""The signals that end a process: which of them do, and who sent one. Standard library alone.

A signal that whoever started us had ignored stays ignored (`nohup`, a shell's `&`): it is not for us to decide.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("dp_coordinator")

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_BY_A_PROCESS = frozenset({0, -6})
"""`si_code` of kill(2) and tgkill(2) (SI_USER, SI_TKILL): only with these does `si_pid` name a sender."""


@dataclass(frozen=True, slots=True)
class Came:
    """One signal."""

    number: int
    sender: int | None
    """The process that sent it; None where that is not known."""
    text: str
    """Which it is and who sent it, for the log."""


def heeded() -> frozenset[signal.Signals]:
    """Those of `ENDING` that end this process."""
    return frozenset(number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN)


def wait(numbers: Collection[int], seconds: float | None) -> Came | None:
    """The next of these signals, which must be blocked; None when none came in time (None: wait for ever)."""
    if not hasattr(signal, "sigtimedwait"):
        return _wait_without_sender(numbers, seconds)
    info = signal.sigwaitinfo(numbers) if seconds is None else signal.sigtimedwait(numbers, max(0.0, seconds))
    # Stopped and continued beyond the timeout, CPython gives what lay in memory (`signal_sigtimedwait_impl`).
    if info is None or info.si_signo not in numbers:
        return None
    sender = info.si_pid if info.si_code in _BY_A_PROCESS else None
    return Came(info.si_signo, sender, f"{signal.Signals(info.si_signo).name} {_from(sender)}")


def _wait_without_sender(numbers: Collection[int], seconds: float | None) -> Came | None:
    """The same where the system cannot wait with a timeout (macOS): an alarm is one more signal to wait for."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    if seconds is not None:
        signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds))
    number = signal.sigwait({*numbers, signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, 0)
    return None if number == signal.SIGALRM else Came(number, None, signal.Signals(number).name)


def _from(sender: int | None) -> str:
    if sender is None:
        return "from the kernel (a key of the terminal, or the terminal was closed)"
    if sender == 0:
        return "from a process outside this container"
    with suppress(OSError):
        return f"from process {sender} ({Path(f'/proc/{sender}/comm').read_text().strip()})"
    return f"from process {sender}"


class Told:
    """Whether this process was told to end, and what is to be done then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self.text: str | None = None
        """By which signal, once it was."""

    def then(self, stop: Callable[[], None]) -> None:
        """Call `stop` when told to end: at once, if that has happened."""
        with self._lock:
            self._stop = stop
            if self.text is not None:
                stop()

    def end(self, text: str) -> None:
        """Note that a signal tells us to end."""
        with self._lock:
            self.text = text
            if self._stop is not None:
                self._stop()


@contextmanager
def told_to_end() -> Iterator[Told]:
    """While it lasts, signals that end this process are told, with who sent them, instead of ending it.

    A thread waits for them, which works while the main thread is busy or stuck. Once one came, those that follow change
    nothing: whoever ends a group of processes may well send each of them two. Off the main thread it does nothing.
    """
    told = Told()
    numbers = heeded()
    if threading.current_thread() is not threading.main_thread() or not numbers:
        yield told
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    ended = threading.Event()

    def listen() -> None:
        while True:
            came = wait(numbers, None)
            if ended.is_set():
                return
            if came is not None and told.text is None:
                log.info("stopping: %s", came.text)
                told.end(came.text)

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    try:
        yield told
    finally:
        ended.set()
        signal.pthread_kill(thread.ident or 0, next(iter(numbers)))
        thread.join()
        if told.text is None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
