"""A coordinator as a process of its own, held from Python.

```python
with DPCoordinator(engine_count=2) as coordinator:
    back_publish, back_output = coordinator.get_engine_socket_addresses()
    front_publish = coordinator.get_stats_publish_address()
    print(coordinator.http_url)
```
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import asdict, fields
from multiprocessing.connection import Connection
from typing import Any

from dp_coordinator import endings
from dp_coordinator.journal import last_entry
from dp_coordinator.messages import Endpoints
from dp_coordinator.options import ServeOptions
from dp_coordinator.process import Bound, serve
from dp_coordinator.scratch import make_scratch
from dp_coordinator.settings import SettingsError, checked

START_TIMEOUT = 30.0
"""Seconds that the process gets to bind its sockets; it takes well under one on an idle machine."""
TERMINATE_TIMEOUT = 5.0
"""Seconds between SIGTERM and SIGKILL when `shutdown` is given no timeout."""

EXIT_CODE_TIMEOUT = 5.0
"""Seconds from the end of a process's files to its exit code; milliseconds on an idle machine."""


class CoordinatorStartError(RuntimeError):
    """The coordinator process could not start; the text says why."""


class CoordinatorProcess(subprocess.Popen[bytes]):
    """A running coordinator process, with the parts of `multiprocessing.Process` that vLLM uses of its own."""

    name = "DPCoordinator"
    sentinel: int
    """A file descriptor that becomes readable when the process ends; works in zmq pollers and in `wait`."""

    @property
    def exitcode(self) -> int | None:
        """None while it runs; otherwise its exit code, or minus the signal that ended it.

        Never None once the sentinel is readable: the kernel closes a process's files a moment before there is an exit
        code, and vLLM asks at once (`vllm/v1/utils.py`, `wait_for_completion_or_failure`) and takes None for a failure.
        """
        if self.poll() is None and select.select([self.sentinel], [], [], 0)[0]:
            self.join(EXIT_CODE_TIMEOUT)
        return self.poll()

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.poll() is None

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most `timeout` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout)


class DPCoordinator:
    """Starts a coordinator process and waits until it is bound. It ends with `shutdown`, or when this process does."""

    def __init__(self, engine_count: int, *, supervised: bool = False, **options: Any) -> None:
        """`supervised`: a supervisor keeps the coordinator alive, and is what `proc` stands for.

        `options` are fields of `ServeOptions`; sockets default to ipc, the web server to a free port of 127.0.0.1. A
        `journal` or `parent_pid` of None is the one that this handle chooses.

        Raises `SettingsError` for options that cannot be used and `CoordinatorStartError` when the process fails.
        """
        self._owner = os.getpid()
        self._directory = make_scratch()
        tied: dict[str, Any] = {"journal": f"{self._directory}/journal"} if supervised else {"parent_pid": self._owner}
        defaults = {f"{end.name}_address": f"ipc://{self._directory}/{end.name}" for end in fields(Endpoints)}
        defaults |= {"http": "127.0.0.1:0"} | tied
        try:
            asked = {name: value for name, value in options.items() if value is not None or name not in tied}
            settings = checked(ServeOptions(engine_count, **(defaults | asked)))
            self._journal = settings.journal
            self.proc, self.bound = _start(settings, self._directory, supervised=supervised)
        except BaseException as error:
            shutil.rmtree(self._directory, ignore_errors=True)
            if isinstance(error, TypeError):  # an option that is unknown, or no such value
                raise SettingsError(str(error)) from None
            raise
        self._finalizer = weakref.finalize(self, _shut_down, self.proc, self._directory, None, self._owner)

    def get_stats_publish_address(self) -> str:
        """Where front-ends connect: front_publish."""
        return self.bound.front_publish

    def get_engine_socket_addresses(self) -> tuple[str, str]:
        """Where engines connect: (back_publish, back_output)."""
        return self.bound.back_publish, self.bound.back_output

    @property
    def http_url(self) -> str | None:
        """The page's address; None without a web server."""
        return self.bound.http_url

    @property
    def scratch(self) -> str:
        """A folder for sockets, which goes when the process ends, also after this one was killed."""
        return self._directory

    def worker_pid(self) -> int:
        """The coordinator's own process id; of a supervised one it changes with every restart."""
        past = None if self._journal is None else last_entry(self._journal)
        return self.bound.pid if past is None else past.pid

    def shutdown(self, timeout: float | None = None) -> None:
        """End the process: SIGTERM, after `timeout` seconds (5 if None) SIGKILL. Further calls do nothing."""
        if self._finalizer.detach() is not None:
            _shut_down(self.proc, self._directory, timeout, self._owner)

    def close(self) -> None:
        """`shutdown()`, under the name it has in vLLM through 0.16."""
        self.shutdown()

    def __enter__(self) -> DPCoordinator:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


class DPCoordinatorProc:
    """What runs in that process, for callers that bring a process of their own."""

    @staticmethod
    def run_coordinator(  # noqa: PLR0917  (vLLM's own signature)
        engine_count: int,
        front_publish_address: str,
        back_output_address: str,
        back_publish_address: str,
        zmq_addr_pipe: Connection | None = None,
        min_stats_update_interval_ms: int = 100,
        enable_wave_coordination: bool = True,
        **options: Any,
    ) -> None:
        """Serve until SIGTERM or SIGINT; the arguments are those of vLLM 0.20's method of the same name.

        The real addresses (front_publish, back_output, back_publish) are sent through `zmq_addr_pipe` once bound.
        `options` are further fields of `ServeOptions`; without `http` there is no web server. Raises `SystemExit` with
        the exit code unless it ended cleanly.
        """

        def on_bound(bound: Bound) -> None:
            if zmq_addr_pipe is not None:
                zmq_addr_pipe.send((bound.front_publish, bound.back_output, bound.back_publish))
                zmq_addr_pipe.close()

        settings = ServeOptions(
            engine_count,
            front_publish_address=front_publish_address,
            back_output_address=back_output_address,
            back_publish_address=back_publish_address,
            min_stats_update_interval_ms=min_stats_update_interval_ms,
            wave_coordination=enable_wave_coordination,
            **({"http": None} | options),
        )
        code = serve(settings, on_bound)
        if code:
            raise SystemExit(code)


def _start(settings: ServeOptions, scratch: str, *, supervised: bool) -> tuple[CoordinatorProcess, Bound]:
    """Start the process, which takes the folder `scratch` away at its end, should nobody else do so."""
    report_read, report_write = os.pipe()
    alive_read, alive_write = os.pipe()  # the child holds the write end until it ends, however it ends
    command = [sys.executable, "-m", "dp_coordinator.child", str(report_write)]
    if not supervised:
        command.append(scratch)
    else:
        options = ["--parent", str(os.getpid()), "--pass-fd", str(report_write), "--scratch", scratch]
        options += ["--hang-timeout", str(settings.hang_timeout)]
        command = [sys.executable, "-m", "dp_coordinator.supervisor", *options, "--", *command]
    try:
        with tempfile.TemporaryFile("w+") as stdin:  # a file, for every worker reads it from the beginning
            json.dump(asdict(settings), stdin)
            stdin.seek(0)
            with _signals_kept():
                proc = CoordinatorProcess(command, stdin=stdin, pass_fds=(report_write, alive_write))
    except BaseException:
        os.close(report_read)
        os.close(alive_read)
        raise
    finally:
        os.close(report_write)
        os.close(alive_write)
    proc.sentinel = alive_read
    weakref.finalize(proc, os.close, alive_read)
    try:
        return proc, _await_report(proc, report_read)
    except BaseException:
        _end(proc, TERMINATE_TIMEOUT)
        raise


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """A child that is started meanwhile is not ended by a signal before it can take away what is its to take away.

    It inherits that they are blocked, and takes them when it is ready (`endings`).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, endings.ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _await_report(proc: CoordinatorProcess, report_read: int) -> Bound:
    """The first line that the process reports; a supervisor holds the pipe open for the workers to come."""
    with os.fdopen(report_read) as report:
        if not select.select([report], [], [], START_TIMEOUT)[0]:
            raise CoordinatorStartError(f"the coordinator process did not bind its sockets within {START_TIMEOUT:g} s")
        text = report.readline()
    if not text:
        raise CoordinatorStartError(f"the coordinator process ended with exit code {proc.wait()} before it was bound")
    told = json.loads(text)
    if "error" in told:
        raise CoordinatorStartError(told["error"])
    return Bound(**told)


def _shut_down(proc: CoordinatorProcess, directory: str, timeout: float | None, owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of the process that started it lets go of its copy: none of its business
    _end(proc, TERMINATE_TIMEOUT if timeout is None else timeout)
    shutil.rmtree(directory, ignore_errors=True)


def _end(proc: CoordinatorProcess, timeout: float) -> None:
    proc.terminate()  # nothing, for one that has ended
    proc.join(timeout)
    proc.kill()
    proc.join()
