"""The composition root: one process with the poll loop on its main thread and the web server on one other.

Start-up order: check the settings, bind the page's port and the sockets, start the web thread, tell whoever asked where
everything is, turn the loop. Shut-down is the reverse.
"""

from __future__ import annotations

import logging
import os
import resource
import secrets
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict

from dp_coordinator.addresses import bound_address
from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.dialect import TESTED
from dp_coordinator.journal import Journal, JournalRecord
from dp_coordinator.listening import url_of
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.options import Deployment, ServeOptions
from dp_coordinator.process.bound import Bound
from dp_coordinator.process.listener import listen, web_settings
from dp_coordinator.process.signals import signals_stop
from dp_coordinator.process.web_thread import WebThread, freeze
from dp_coordinator.recorder.folder import Folder
from dp_coordinator.recorder.inputs import InputRecorder
from dp_coordinator.recorder.recording import Recording
from dp_coordinator.settings import SettingsError, checked, shared
from dp_coordinator.supervisor import EXIT_SETTINGS, EXIT_START_TIMEOUT, say_serving, supervisor_pid
from dp_coordinator.transport import Loop, Sockets, StartTimeoutError

log = logging.getLogger("dp_coordinator")

EXIT_OK = 0
EXIT_WEB = 1
"""The web server ended by itself."""
FILES_WANTED = 16_384
RECORDER_STOP_TIMEOUT = 5.0
"""Seconds that the recorder gets to write what is left."""


class WebError(RuntimeError):
    """The web server ended by itself."""


def serve(
    options: ServeOptions,
    on_bound: Callable[[Bound], None] = lambda bound: None,
    on_error: Callable[[str], None] = lambda sentence: None,
) -> int:
    """Run a coordinator on this thread until SIGINT or SIGTERM, and return the exit code.

    `on_bound` is called once everything is bound and before the first message is read. Settings that cannot be used and
    addresses that cannot be bound give a line on the log and exit code 2; missing engines give 3. `on_error` is told
    the same sentence.
    """
    try:
        _serve(checked(options), on_bound)
    except (SettingsError, StartTimeoutError, WebError) as error:
        log.error("%s", error)
        on_error(str(error))
        if isinstance(error, SettingsError):
            return EXIT_SETTINGS
        return EXIT_START_TIMEOUT if isinstance(error, StartTimeoutError) else EXIT_WEB
    return EXIT_OK


def _serve(options: ServeOptions, on_bound: Callable[[Bound], None]) -> None:
    dialect = Dialect.for_version(options.dialect)
    if not dialect.tested:
        log.warning("vLLM %s is newer than any that was tested (%s); speaking as the newest", dialect.version, TESTED)
    _allow_many_files()
    sys.setswitchinterval(0.0001)  # a busy web thread may hold the loop up for a tenth of a millisecond, not five
    with ExitStack() as stack:
        journal = _journal(options, stack)
        past = None if journal is None else journal.past
        listener = None if options.http is None else stack.enter_context(listen(*_page(options.http, past)))
        sockets = stack.enter_context(_sockets(options, past))
        mailbox, loop = _assemble(options, dialect, sockets, journal, stack)
        stack.callback(loop.close)
        web, page = None, None
        if listener is not None:
            web = stack.enter_context(WebThread(mailbox, web_settings(options, listener), listener, loop.stop))
            page = bound_address(listener)
        if journal is not None:
            journal.begin(sockets.endpoints(), None if options.http is None or page is None else (options.http, page))
        stack.enter_context(signals_stop(loop))
        _log_start(mailbox, dialect, past)
        url = None if listener is None else url_of(listener)
        on_bound(Bound(**asdict(sockets.endpoints()), http_url=url, pid=os.getpid()))
        say_serving()
        freeze()
        loop.run()
        log.info("stopping")
        if web is not None and not web.is_alive():
            raise WebError("the web server has ended, and nobody told it to; the log says why")


def _journal(options: ServeOptions, stack: ExitStack) -> Journal | None:
    if options.journal is None:
        return None
    journal = Journal(options.journal, Deployment(**shared(options, Deployment)))
    stack.callback(journal.close)
    return journal


def _page(asked: str, past: JournalRecord | None) -> tuple[str, str | None]:
    """Where the page is to be, and where an earlier incarnation that was asked for the same had it."""
    return asked, past.http[1] if past is not None and past.http is not None and past.http[0] == asked else None


def _sockets(options: ServeOptions, past: JournalRecord | None) -> Sockets:
    if past is not None:
        return Sockets(past.endpoints.front_publish, past.endpoints.back_output, past.endpoints.back_publish)
    return Sockets(options.front_publish_address, options.back_output_address, options.back_publish_address)


def _log_start(mailbox: Mailbox, dialect: Dialect, past: JournalRecord | None) -> None:
    entry: dict[str, object] = {"dialect": dialect.version, "pid": os.getpid(), "restarts": mailbox.restarts}
    if past is not None:
        entry["resumed_wave"] = past.state.current_wave
        log.info("restart %d: going on with wave %d", mailbox.restarts, past.state.current_wave)
    mailbox.log.append(time.monotonic(), "coordinator_started", entry)


def _allow_many_files() -> None:
    """Every viewer and every ZeroMQ peer is a file; the usual soft limit of 1,024 is below what is allowed anyway."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _assemble(
    options: ServeOptions, dialect: Dialect, sockets: Sockets, journal: Journal | None, stack: ExitStack
) -> tuple[Mailbox, Loop]:
    now = time.monotonic()
    interval = options.min_stats_update_interval_ms / 1000
    coordinator = Coordinator(
        options.engine_count,
        dialect,
        now=now,
        wave_coordination=options.wave_coordination,
        min_stats_update_interval=interval,
        manual_start_timeout=options.manual_start_timeout,
        action_prefix=secrets.token_hex(4),
        resumed=None if journal is None or journal.past is None else journal.past.state,
    )
    restarts = 0 if journal is None else journal.restarts
    mailbox = Mailbox(
        coordinator.snapshot(now), sockets.endpoints(), min_stats_update_interval=interval, restarts=restarts
    )
    loop = Loop(
        coordinator,
        sockets,
        mailbox,
        start_timeout=options.start_timeout,
        should_stop=_orphan_check(options.parent_pid),
        write_journal=(lambda state: None) if journal is None else journal.write,
        observers=[] if options.record is None else [_record(options, options.record, coordinator, mailbox, stack)],
    )
    return mailbox, loop


def _record(
    options: ServeOptions, path: str, coordinator: Coordinator, mailbox: Mailbox, stack: ExitStack
) -> InputRecorder:
    """Begin to record, and write on a thread of its own until the stack is closed."""
    told = ("min_stats_update_interval_ms", "manual_start_timeout", "stale_after_s")
    about = {name: getattr(options, name) for name in told}
    about |= {"endpoints": asdict(mailbox.endpoints), "restarts": mailbox.restarts, "pid": os.getpid()}
    folder = Folder(path, options.record_max_mb << 20)
    stack.callback(folder.close)
    recording = Recording(coordinator, mailbox.log, folder, about, now=time.monotonic())
    recording.begin()
    writing = threading.Thread(target=recording.run, name="recorder", daemon=True)
    writing.start()
    stack.callback(writing.join, RECORDER_STOP_TIMEOUT)
    stack.callback(recording.recorder.close)
    mailbox.recording = recording
    return recording.recorder


def _orphan_check(parent_pid: int | None) -> Callable[[], bool]:
    supervisor = supervisor_pid()
    parent = parent_pid if supervisor is None else supervisor
    return lambda: parent is not None and os.getppid() != parent
