"""The composition root: one process with the poll loop on its main thread and the web server on one other.

Start-up order: check the settings, bind the page's port and the sockets, start the web thread, tell whoever asked where
everything is, turn the loop. Shut-down is the reverse.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

from dp_coordinator import listening
from dp_coordinator.alarms.detector import Thresholds
from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.dialect import DEFAULT_VERSION, UnknownDialectError
from dp_coordinator.journal import Deployment, Journal, JournalError, JournalRecord
from dp_coordinator.mailbox import Endpoints, Mailbox
from dp_coordinator.recorder.folder import AT_LEAST_MB, Folder, RecordingError
from dp_coordinator.recorder.inputs import InputRecorder
from dp_coordinator.recorder.recording import Recording
from dp_coordinator.supervisor import EXIT_SETTINGS, EXIT_START_TIMEOUT, say_serving, supervisor_pid
from dp_coordinator.transport import BindError, Loop, Sockets, StartTimeoutError
from dp_coordinator.web.settings import ConfigurationError, WebSettings, check_exposure

if TYPE_CHECKING:
    from dp_coordinator.web.server import WebServer

log = logging.getLogger("dp_coordinator")

ANY_LOCAL_PORT = "tcp://127.0.0.1:*"
EXIT_OK = 0
EXIT_WEB = 1
"""The web server ended by itself."""
FILES_WANTED = 16_384
_THRESHOLDS = Thresholds()
_ALARMS = {
    "alarm_not_stepping_s": "asked_not_stepping",
    "alarm_silent_s": "rank_silent",
    "alarm_imbalance_s": "load_imbalance",
    "alarm_missing_s": "missing",
}
"""Option -> field of `Thresholds`."""
WEB_STOP_TIMEOUT = 5.0
"""Seconds that the web thread gets to say goodbye to its viewers."""
RECORDER_STOP_TIMEOUT = 5.0
"""Seconds that the recorder gets to write what is left."""


class SettingsError(ValueError):
    """A setting cannot be used; the text names it and says what would be right."""


class WebError(RuntimeError):
    """The web server ended by itself."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Everything `serve` can be told. Each field is the flag of the same name."""

    engine_count: int
    front_publish_address: str = ANY_LOCAL_PORT
    back_output_address: str = ANY_LOCAL_PORT
    back_publish_address: str = ANY_LOCAL_PORT
    http: str | None = listening.DEFAULT
    """HOST:PORT of the page, REST and metrics, or HOST:FIRST-LAST for the first port that is free; None for none."""
    dialect: str = DEFAULT_VERSION
    """The vLLM version to speak."""
    min_stats_update_interval_ms: int = 100
    wave_coordination: bool = True
    start_timeout: float | None = None
    """Seconds until every engine must have subscribed; None to wait for ever."""
    manual_start_timeout: float = 5.0
    """Seconds in which a manual start must be seen to be followed."""
    token: str | None = field(default=None, repr=False)
    trust_network_without_token: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    stale_after_s: float = 5.0
    alarm_not_stepping_s: float = _THRESHOLDS.asked_not_stepping
    alarm_silent_s: float = _THRESHOLDS.rank_silent
    alarm_imbalance_s: float = _THRESHOLDS.load_imbalance
    alarm_missing_s: float = _THRESHOLDS.missing
    log_level: str = "info"
    parent_pid: int | None = None
    """Exit when this process is no longer our parent."""
    journal: str | None = None
    """File by which a coordinator that comes back goes on with the wave and the addresses it had."""
    record: str | None = None
    """Folder to which everything that enters the core is written."""
    record_max_mb: int = 256
    """Most that recordings may take up there, in units of 2**20 bytes."""

    def checked(self) -> ServeOptions:
        """These options, or `SettingsError` naming the first that cannot be used."""
        if not 1 <= self.engine_count <= 16_384:
            raise SettingsError(f"--engine-count must be 1 to 16384, not {self.engine_count}")
        if not 0 <= self.min_stats_update_interval_ms <= 60_000:
            given = self.min_stats_update_interval_ms
            raise SettingsError(f"--min-stats-update-interval-ms must be 0 to 60000, not {given}")
        if not AT_LEAST_MB <= self.record_max_mb <= 1 << 20:
            raise SettingsError(f"--record-max-mb must be {AT_LEAST_MB} to 1048576, not {self.record_max_mb}")
        for name in ("start_timeout", "manual_start_timeout", "stale_after_s", *_ALARMS):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds <= 86_400:
                raise SettingsError(f"--{name.replace('_', '-')} must be more than 0 and at most 86400 seconds")
        if self.log_level.upper() not in logging.getLevelNamesMapping():
            raise SettingsError(f"--log-level {self.log_level!r} is unknown; use debug, info, warning or error")
        try:
            Dialect.for_version(self.dialect)
        except UnknownDialectError as error:
            raise SettingsError(f"--dialect: {error}") from None
        return self


@dataclass(frozen=True, slots=True)
class Bound:
    """Where everything is, once bound."""

    endpoints: Endpoints
    http_url: str | None
    pid: int

    def as_json(self) -> dict[str, object]:
        """The same as a JSON object: the three endpoints, http_url and pid."""
        return {**asdict(self.endpoints), "http_url": self.http_url, "pid": self.pid}


def serve(options: ServeOptions, on_bound: Callable[[Bound], None] = lambda bound: None) -> int:
    """Run a coordinator on this thread until SIGINT or SIGTERM, and return the exit code.

    `on_bound` is called once everything is bound and before the first message is read. Settings that cannot be used and
    addresses that cannot be bound give a line on the log and exit code 2; missing engines give 3.
    """
    try:
        _serve(options.checked(), on_bound)
    except (SettingsError, BindError, JournalError, RecordingError) as error:
        log.error("%s", error)
        return EXIT_SETTINGS
    except StartTimeoutError as error:
        log.error("%s", error)
        return EXIT_START_TIMEOUT
    except WebError as error:
        log.error("%s", error)
        return EXIT_WEB
    return EXIT_OK


def _serve(options: ServeOptions, on_bound: Callable[[Bound], None]) -> None:
    dialect = Dialect.for_version(options.dialect)
    if not dialect.tested:
        log.warning(
            "vLLM %s is newer than any that was tested (0.10.2 to 0.33); speaking as 0.33 does", dialect.version
        )
    _allow_many_files()
    sys.setswitchinterval(0.0001)  # a busy web thread may hold the loop up for a tenth of a millisecond, not five
    with ExitStack() as stack:
        journal = _journal(options, stack)
        past = None if journal is None else journal.past
        listener = (
            None
            if options.http is None
            else stack.enter_context(listen(options.http, _page_before(options.http, past)))
        )
        sockets = stack.enter_context(_sockets(options, past))
        mailbox, loop = _assemble(options, dialect, sockets, journal, stack)
        stack.callback(loop.close)
        web = None if listener is None else _Web(mailbox, web_settings(options, listener), listener, loop.stop)
        if web is not None:
            stack.enter_context(web)
        page = None if listener is None else listening.name_of(listener)
        if journal is not None:
            journal.begin(sockets.endpoints(), None if options.http is None or page is None else (options.http, page))
        stack.enter_context(_signals(loop))
        _log_start(mailbox, dialect, past)
        on_bound(Bound(sockets.endpoints(), None if listener is None else listening.url_of(listener), os.getpid()))
        say_serving()
        _freeze()
        loop.run()
        log.info("stopping")
        if web is not None and not web.is_alive():
            raise WebError("the web server has ended, and nobody told it to; the log says why")


def _journal(options: ServeOptions, stack: ExitStack) -> Journal | None:
    if options.journal is None:
        return None
    deployment = Deployment(**{field.name: getattr(options, field.name) for field in fields(Deployment)})
    journal = Journal(options.journal, deployment)
    stack.callback(journal.close)
    return journal


def _page_before(asked: str, past: JournalRecord | None) -> str | None:
    """Where an earlier incarnation served the page, if it was asked for the same."""
    return past.http[1] if past is not None and past.http is not None and past.http[0] == asked else None


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
        tape=None if options.record is None else _record(options, options.record, coordinator, mailbox, stack),
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
    stack.callback(recording.tape.close)
    mailbox.recording = recording
    return recording.tape


def _orphan_check(parent_pid: int | None) -> Callable[[], bool]:
    supervisor = supervisor_pid()
    parent = parent_pid if supervisor is None else supervisor
    return lambda: parent is not None and os.getppid() != parent


@contextmanager
def _signals(loop: Loop) -> Iterator[None]:
    """SIGINT and SIGTERM stop the loop, wherever it waits. Elsewhere than on the main thread, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: loop.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    wakeup_before = signal.set_wakeup_fd(loop.wake_fd, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(address: str, before: str | None = None) -> socket.socket:
    """The page's listening socket; see `listening.listen`. Raises `BindError` or `SettingsError` in words."""
    try:
        return listening.listen(address, before)
    except listening.AddressError as error:
        raise SettingsError(f"--http: {error}") from None
    except listening.TakenError as error:
        raise BindError(f"cannot bind --http {address}: {error.strerror}") from None


def web_settings(options: ServeOptions, listener: socket.socket) -> WebSettings:
    """What the web layer is told. Raises `SettingsError` for settings that would expose it."""
    host, port = listener.getsockname()[:2]
    settings = WebSettings(
        host=host,
        port=port,
        token=options.token,
        trusted_network=options.trust_network_without_token,
        allowed_hosts=options.allowed_hosts,
        allowed_origins=options.allowed_origins,
        stale_after_s=options.stale_after_s,
        alarms=Thresholds(**{limit: getattr(options, name) for name, limit in _ALARMS.items()}),
    )
    try:
        check_exposure(settings)
    except ConfigurationError as error:
        raise SettingsError(str(error)) from None
    return settings


class _Web(threading.Thread):
    """The web server on its own thread. It is imported there too: engines need not wait half a second for that."""

    def __init__(self, mailbox: Mailbox, settings: WebSettings, listener: socket.socket, on_end: Callable[[], None]):
        super().__init__(name="web", daemon=True)
        self._mailbox = mailbox
        self._settings = settings
        self._listener = listener
        self._on_end = on_end
        self._server: WebServer | None = None
        self._stopping = False

    def run(self) -> None:
        try:
            self._serve()
        except Exception:
            log.exception("the web server met a defect in dp-coordinator; please report it")
        finally:
            self._on_end()

    def _serve(self) -> None:
        from dp_coordinator.web.app import create_app  # noqa: PLC0415
        from dp_coordinator.web.server import WebServer  # noqa: PLC0415

        app = create_app(self._mailbox, self._settings)
        self._server = WebServer(app, max_viewers=self._settings.max_viewers)
        _freeze()
        if not self._stopping:
            self._server.run(sockets=[self._listener])

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        if self._server is not None:
            self._server.should_exit = True
        self.join(WEB_STOP_TIMEOUT)


def _freeze() -> None:
    """What start-up made lives as long as the process: collections need not walk it."""
    gc.collect()
    gc.freeze()


def configure_logging(level: str) -> None:
    """One line per message on stderr."""
    text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level.upper(), format=text, stream=sys.stderr)
