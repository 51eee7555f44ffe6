"""The signals that end a process: which of them do, and who sent one. Standard library alone.

A signal that whoever started us had ignored stays ignored (`nohup`, a shell's `&`): it is not for us to decide. Nor do
those end us that ask for nothing here: batch systems send them to a whole job as a warning, others for a new log file.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("dp_coordinator")

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_MEANINGLESS = ("USR1", "USR2", "ALRM", "VTALRM", "PROF", "POLL", "PWR", "STKFLT", "XCPU")
"""They end a process that does not say otherwise. So do the real-time signals."""
GIVE_UP_S = 30.0
"""From being told to end to ending at once: something may wait for a file or a name server that does not answer."""
LEAVE_S = 2.0
"""The same from the end of all that matters."""
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


def stray() -> frozenset[int]:
    """Those that would end this process and ask for nothing here: to be blocked, and waited for."""
    named = {getattr(signal, f"SIG{name}", None) for name in _MEANINGLESS}
    if hasattr(signal, "SIGRTMIN"):
        named |= set(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
    if not hasattr(signal, "sigtimedwait"):
        named.discard(signal.SIGALRM)  # `wait` needs it
    return frozenset(number for number in named if number and signal.getsignal(number) is signal.SIG_DFL)


class Ignored:
    """Signals that do nothing: the first of each kind is said."""

    def __init__(self) -> None:
        self._said: set[int] = set()

    def add(self, came: Came) -> None:
        """One came."""
        if came.number not in self._said:
            self._said.add(came.number)
            log.info("ignoring %s, now and later: it asks for nothing here", came.text)


def wait(numbers: Collection[int], seconds: float | None) -> Came | None:
    """The next of these signals, which must be blocked; None when none came in time (None: wait for ever)."""
    if not hasattr(signal, "sigtimedwait"):
        return _wait_without_sender(numbers, seconds)
    info = signal.sigwaitinfo(numbers) if seconds is None else signal.sigtimedwait(numbers, max(0.0, seconds))
    # Stopped and continued beyond the timeout, CPython gives what lay in memory (`signal_sigtimedwait_impl`).
    if info is None or info.si_signo not in numbers:
        return None
    sender = info.si_pid if info.si_code in _BY_A_PROCESS else None
    return Came(info.si_signo, sender, f"{_name(info.si_signo)} {_from(sender, info.si_signo)}")


def _wait_without_sender(numbers: Collection[int], seconds: float | None) -> Came | None:
    """The same where the system cannot wait with a timeout (macOS): an alarm is one more signal to wait for."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    if seconds is not None:
        signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds))
    number = signal.sigwait({*numbers, signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, 0)
    return None if number == signal.SIGALRM else Came(number, None, _name(number))


def _name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _from(sender: int | None, number: int) -> str:
    if sender is None:
        return "from the kernel" + (" (a key of the terminal, or the terminal was closed)" if number in ENDING else "")
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
    nothing: whoever ends a group of processes may well send each of them two. When it lasts for `GIVE_UP_S` more, the
    process ends at once. Off the main thread it does nothing.
    """
    told = Told()
    heard = heeded()
    numbers = heard | stray()
    if threading.current_thread() is not threading.main_thread() or not numbers:
        yield told
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    ended, ignored = threading.Event(), Ignored()
    end_at = _timer(GIVE_UP_S, _give_up)

    def listen() -> None:
        while True:
            came = wait(numbers, None)
            if ended.is_set():
                return
            if came is not None and came.number not in heard:
                ignored.add(came)
            elif came is not None and told.text is None:
                log.info("stopping: %s", came.text)
                end_at.start()
                told.end(came.text)

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    try:
        yield told
    finally:
        end_at.cancel()
        ended.set()
        signal.pthread_kill(thread.ident or 0, next(iter(numbers)))
        thread.join()
        if told.text is None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave(code: int) -> int:
    """The exit code, for the end of a process's main: threads that wait for something hold it up no longer."""
    _timer(LEAVE_S, lambda: os._exit(code)).start()
    return code


def _give_up() -> None:
    log.error("something held the end up for %g s: ending at once", GIVE_UP_S)
    os._exit(128 + signal.SIGKILL)


def _timer(seconds: float, then: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, then)
    timer.daemon = True
    return timer
