"""The composition root: one process with the poll loop on its main thread and the web server on one other.

Start-up order: check the settings, bind the page's port and the sockets, start the web thread, tell whoever asked where
everything is, turn the loop. Shut-down is the reverse.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import IO, TYPE_CHECKING, Any

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.dialect import DEFAULT_VERSION, UnknownDialectError
from dp_coordinator.mailbox import Endpoints, Mailbox
from dp_coordinator.transport import BindError, Loop, Sockets, StartTimeoutError

if TYPE_CHECKING:
    from dp_coordinator.web import WebServer

log = logging.getLogger("dp_coordinator")

ANY_LOCAL_PORT = "tcp://127.0.0.1:*"
EXIT_OK = 0
EXIT_SETTINGS = 2
"""A setting is wrong or an address cannot be bound."""
EXIT_START_TIMEOUT = 3
"""Not every engine subscribed within --start-timeout."""
FILES_WANTED = 16_384
WEB_STOP_TIMEOUT = 5.0
"""Seconds that the web thread gets to say goodbye to its viewers."""


class SettingsError(ValueError):
    """A setting cannot be used; the text names it and says what would be right."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Everything `serve` can be told. Each field is the flag of the same name."""

    engine_count: int
    front_publish_address: str = ANY_LOCAL_PORT
    back_output_address: str = ANY_LOCAL_PORT
    back_publish_address: str = ANY_LOCAL_PORT
    http: str | None = "127.0.0.1:8080"
    """HOST:PORT of the page, REST and metrics; None for no web server. Port 0 picks a free one."""
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
    log_level: str = "info"
    parent_pid: int | None = None
    """Exit when this process is no longer our parent."""

    def checked(self) -> ServeOptions:
        """These options, or `SettingsError` naming the first that cannot be used."""
        if not 1 <= self.engine_count <= 16_384:
            raise SettingsError(f"--engine-count must be 1 to 16384, not {self.engine_count}")
        if not 0 <= self.min_stats_update_interval_ms <= 60_000:
            given = self.min_stats_update_interval_ms
            raise SettingsError(f"--min-stats-update-interval-ms must be 0 to 60000, not {given}")
        for name in ("start_timeout", "manual_start_timeout", "stale_after_s"):
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


def parse_http(address: str) -> tuple[str, int]:
    """HOST:PORT or [V6]:PORT as (host, port). Raises `SettingsError`."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise SettingsError(f"--http must be HOST:PORT, for example 127.0.0.1:8080, not {address!r}")
    return host, int(port)


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
    except (SettingsError, BindError) as error:
        log.error("%s", error)
        return EXIT_SETTINGS
    except StartTimeoutError as error:
        log.error("%s", error)
        return EXIT_START_TIMEOUT
    return EXIT_OK


def _serve(options: ServeOptions, on_bound: Callable[[Bound], None]) -> None:
    dialect = Dialect.for_version(options.dialect)
    if not dialect.tested:
        log.warning(
            "vLLM %s is newer than any that was tested (0.10.2 to 0.33); speaking as 0.33 does", dialect.version
        )
    _allow_many_files()
    sys.setswitchinterval(0.0005)  # a busy web thread may hold the loop up for half a millisecond, not five
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(options.http)) if options.http is not None else None
        sockets = stack.enter_context(
            Sockets(options.front_publish_address, options.back_output_address, options.back_publish_address)
        )
        mailbox, loop = _assemble(options, dialect, sockets)
        stack.callback(loop.close)
        url = None
        if listener is not None:
            url = stack.enter_context(_web(options, mailbox, listener))
        stack.enter_context(_signals(loop))
        mailbox.log.append(time.monotonic(), "coordinator_started", {"dialect": dialect.version, "pid": os.getpid()})
        on_bound(Bound(sockets.endpoints(), url, os.getpid()))
        gc.collect()
        gc.freeze()  # what start-up made lives as long as the process: collections need not walk it
        loop.run()
        log.info("stopping")


def _allow_many_files() -> None:
    """Every viewer and every ZeroMQ peer is a file; the usual soft limit of 1,024 is below what is allowed anyway."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _assemble(options: ServeOptions, dialect: Dialect, sockets: Sockets) -> tuple[Mailbox, Loop]:
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
    )
    mailbox = Mailbox(coordinator.snapshot(now), sockets.endpoints(), min_stats_update_interval=interval)
    orphaned = _orphan_check(options.parent_pid)
    return mailbox, Loop(coordinator, sockets, mailbox, start_timeout=options.start_timeout, should_stop=orphaned)


def _orphan_check(parent_pid: int | None) -> Callable[[], bool]:
    return lambda: parent_pid is not None and os.getppid() != parent_pid


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


@contextmanager
def _listen(address: str) -> Iterator[socket.socket]:
    """The page's listening socket. Raises `BindError` in words: uvicorn would end the process instead."""
    host, port = parse_http(address)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise BindError(f"cannot bind --http {address}: {error.strerror or error}") from None
    with listener:
        yield listener


@contextmanager
def _web(options: ServeOptions, mailbox: Mailbox, listener: socket.socket) -> Iterator[str]:
    """The web server on its own thread; gives its URL."""
    # Imported here: without a web server none of it is loaded.
    from dp_coordinator.web import WebServer, WebSettings, check_exposure, create_app  # noqa: PLC0415
    from dp_coordinator.web.settings import ConfigurationError  # noqa: PLC0415

    host, port = listener.getsockname()[:2]
    settings = WebSettings(
        host=host,
        port=port,
        token=options.token,
        trusted_network=options.trust_network_without_token,
        allowed_hosts=options.allowed_hosts,
        allowed_origins=options.allowed_origins,
        stale_after_s=options.stale_after_s,
    )
    try:
        check_exposure(settings)
    except ConfigurationError as error:
        raise SettingsError(str(error)) from None
    server = WebServer(create_app(mailbox, settings), max_viewers=settings.max_viewers)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    try:
        _wait_started(server, thread)
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        server.should_exit = True
        thread.join(WEB_STOP_TIMEOUT)


def _wait_started(server: WebServer, thread: threading.Thread) -> None:
    while not server.started:
        thread.join(0.005)
        if not thread.is_alive():
            raise BindError("the web server did not start; the log says why")


# -- as a child process of DPCoordinator ---------------------------------------------------------------------------


def options_from(values: Mapping[str, Any]) -> ServeOptions:
    """Options from JSON values, as `DPCoordinator` sends them. Unknown names raise `SettingsError`."""
    known = {f.name for f in fields(ServeOptions)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"unknown option {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return ServeOptions(**{**values, **lists})


def configure_logging(level: str) -> None:
    """One line per message on stderr."""
    text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level.upper(), format=text, stream=sys.stderr)


def child_main(settings: IO[str], report: IO[str]) -> int:
    """Serve with the options that `settings` holds as JSON; tell on `report`, as JSON, where, or what was wrong."""
    problem = _LastError()
    logging.getLogger("dp_coordinator").addHandler(problem)
    try:
        options = options_from(json.load(settings))
        configure_logging(options.log_level)
    except (SettingsError, TypeError, ValueError) as error:
        report.write(json.dumps({"error": str(error)}))
        return EXIT_SETTINGS

    def on_bound(bound: Bound) -> None:
        logging.getLogger("dp_coordinator").removeHandler(problem)
        report.write(json.dumps(bound.as_json()))
        report.close()

    code = serve(options, on_bound)
    if not report.closed:
        report.write(json.dumps({"error": problem.text or f"the coordinator ended with exit code {code}"}))
        report.close()
    return code


class _LastError(logging.Handler):
    """Keeps the last error, for whoever started this process."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


if __name__ == "__main__":
    sys.exit(child_main(sys.stdin, os.fdopen(int(sys.argv[1]), "w")))
