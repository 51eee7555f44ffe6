"""The composition root: one process with the poll loop on its main thread and the web server on one other.

Start-up order: check the settings, bind the page's port and the sockets, start the web thread, tell whoever asked where
everything is, turn the loop. Shut-down is the reverse.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import partial

from dp_coordinator import descriptors
from dp_coordinator.alarms.detector import Thresholds
from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.dialect import DEFAULT_VERSION, UnknownDialectError
from dp_coordinator.endings import Told, told_to_end
from dp_coordinator.journal import Deployment, Journal, JournalError, JournalRecord
from dp_coordinator.mailbox import Endpoints, Mailbox
from dp_coordinator.parts import PagePart, RecordingPart, freeze
from dp_coordinator.recorder.folder import AT_LEAST_MB, RecordingError
from dp_coordinator.supervised import (
    EXIT_SETTINGS,
    EXIT_START_TIMEOUT,
    HANG_TIMEOUT_LEAST_S,
    HANG_TIMEOUT_S,
    LateToken,
    lifeline,
    previous_end,
    say_alive,
    say_serving,
)
from dp_coordinator.transport import BindError, Loop, Sockets, StartTimeoutError
from dp_coordinator.upkeep import Part, Upkeep
from dp_coordinator.web.settings import ConfigurationError, WebSettings, check_exposure

log = logging.getLogger("dp_coordinator")

ANY_LOCAL_PORT = "tcp://127.0.0.1:*"
EXIT_OK = 0
EXIT_WEB = 1
"""The web server ended by itself."""
WEB_CONNECTIONS = 2256
"""Connections to the page at a time when there are open files enough: 2,000 viewers, and REST beside them."""
_THRESHOLDS = Thresholds()
_ALARMS = {
    "alarm_not_stepping_s": "asked_not_stepping",
    "alarm_silent_s": "rank_silent",
    "alarm_imbalance_s": "load_imbalance",
    "alarm_missing_s": "missing",
}
"""Option -> field of `Thresholds`."""


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
    alarm_not_stepping_s: float = _THRESHOLDS.asked_not_stepping
    alarm_silent_s: float = _THRESHOLDS.rank_silent
    alarm_imbalance_s: float = _THRESHOLDS.load_imbalance
    alarm_missing_s: float = _THRESHOLDS.missing
    hang_timeout: float = HANG_TIMEOUT_S
    """Seconds without a sign of life after which a supervisor kills the coordinator and starts it again."""
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
        for name in ("start_timeout", "manual_start_timeout", "stale_after_s", "hang_timeout", *_ALARMS):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds <= 86_400:
                raise SettingsError(f"--{name.replace('_', '-')} must be more than 0 and at most 86400 seconds")
        if self.hang_timeout < HANG_TIMEOUT_LEAST_S:
            raise SettingsError(f"--hang-timeout must be {HANG_TIMEOUT_LEAST_S:g} to 86400 seconds")
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
    """Run a coordinator on this thread until a signal ends it (`endings`), and return the exit code.

    `on_bound` is called once everything is bound and before the first message is read. Settings that cannot be used and
    addresses that cannot be bound give a line on the log and exit code 2; missing engines give 3. One that comes back
    by its journal waits for its addresses instead, and does without what waves do not need, `on_bound` included.
    """
    say_alive()
    try:
        with told_to_end() as told:
            _serve(options.checked(), on_bound, told)
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


def _serve(options: ServeOptions, on_bound: Callable[[Bound], None], told: Told) -> None:
    dialect = Dialect.for_version(options.dialect)
    if not dialect.tested:
        log.warning(
            "vLLM %s is newer than any that was tested (0.10.2 to 0.33); speaking as 0.33 does", dialect.version
        )
    sys.setswitchinterval(0.0001)  # a busy web thread may hold the loop up for a tenth of a millisecond, not five
    with ExitStack() as stack:
        journal = _journal(options, stack)
        past = None if journal is None else journal.past
        sockets = stack.enter_context(_sockets(options, past))
        budget = _descriptors(options, first=past is None)
        mailbox, loop, upkeep = _assemble(options, dialect, sockets, journal)
        stack.callback(loop.close)
        if options.record is not None:
            record = RecordingPart(options.record, options.record_max_mb, _about(options, mailbox), loop, stack)
            upkeep.add(Part("the recording", record.begin), needed=past is None)
        page = _page(options, budget, past, loop, stack)
        if page is not None:
            upkeep.add(page.part, needed=past is None)
        http = _http(options, page, past)
        if journal is not None:
            upkeep.add(Part("the journal", partial(journal.begin, sockets.endpoints(), http)), needed=past is None)
        _log_start(mailbox, dialect, past)
        bound = Bound(sockets.endpoints(), None if http is None else f"http://{http[1]}", os.getpid())
        upkeep.add(Part("the announcement of the addresses", partial(on_bound, bound)), needed=past is None)
        told.then(loop.stop)
        say_serving()
        freeze()
        loop.run()
        log.info("stopped")
        if page is not None and page.ended:
            raise WebError("the web server has ended, and nobody told it to; the log says why")


def _journal(options: ServeOptions, stack: ExitStack) -> Journal | None:
    if options.journal is None:
        return None
    deployment = Deployment(**{field.name: getattr(options, field.name) for field in fields(Deployment)})
    journal = Journal(options.journal, deployment)
    stack.callback(journal.close)
    return journal


def _sockets(options: ServeOptions, past: JournalRecord | None) -> Sockets:
    if past is not None:
        return Sockets(
            past.endpoints.front_publish, past.endpoints.back_output, past.endpoints.back_publish, patient=True
        )
    return Sockets(options.front_publish_address, options.back_output_address, options.back_publish_address)


def _log_start(mailbox: Mailbox, dialect: Dialect, past: JournalRecord | None) -> None:
    entry: dict[str, object] = {"dialect": dialect.version, "pid": os.getpid(), "restarts": mailbox.restarts}
    if (before := previous_end()) is not None:
        entry["previous"] = before
    if past is not None:
        entry["resumed_wave"] = past.state.current_wave
        log.info("restart %d: going on with wave %d", mailbox.restarts, past.state.current_wave)
    mailbox.log.append(time.monotonic(), "coordinator_started", entry)


def _descriptors(options: ServeOptions, *, first: bool) -> descriptors.Budget:
    """Share out the open files. Raises `SettingsError` when the engines of a first incarnation cannot all connect."""
    budget = descriptors.share(options.engine_count, 0 if options.http is None else WEB_CONNECTIONS)
    if options.engine_count <= budget.engines:
        log.info("%s", budget)
        return budget
    text = f"--engine-count {options.engine_count} is more than can connect: {budget} (raise it: ulimit -Hn)"
    if first:
        raise SettingsError(text)
    log.error("%s", text)
    return budget


def _assemble(
    options: ServeOptions, dialect: Dialect, sockets: Sockets, journal: Journal | None
) -> tuple[Mailbox, Loop, Upkeep]:
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
    upkeep = Upkeep(
        mailbox,
        sockets.unreachable,
        fresh=journal is None or journal.past is None,
        restarted=None if journal is None else previous_end(),
    )
    orphaned = lifeline(options.parent_pid)

    def should_stop() -> bool:
        upkeep.turn()
        if orphaned():
            log.info("stopping: the process that started this one is gone")
            return True
        return False

    loop = Loop(
        coordinator,
        sockets,
        mailbox,
        start_timeout=options.start_timeout,
        should_stop=should_stop,
        write_journal=(lambda state: None) if journal is None else journal.write,
    )
    return mailbox, loop, upkeep


def _page(
    options: ServeOptions, budget: descriptors.Budget, past: JournalRecord | None, loop: Loop, stack: ExitStack
) -> PagePart | None:
    """The page, where an earlier incarnation served it if it was asked for the same: viewers come back there."""
    asked = options.http
    if asked is None:
        return None
    address = past.http[1] if past is not None and past.http is not None and past.http[0] == asked else asked
    return PagePart(
        partial(listen, address, most=budget.web), partial(web_settings, options), loop, stack, needed=past is None
    )


def _http(options: ServeOptions, page: PagePart | None, past: JournalRecord | None) -> tuple[str, str] | None:
    """The page's address as it was asked for, and as it is, or was before the restart and will be again."""
    if options.http is None or page is None:
        return None
    if page.bound is not None:
        return options.http, page.bound
    return None if past is None else past.http


def _about(options: ServeOptions, mailbox: Mailbox) -> dict[str, object]:
    told = ("min_stats_update_interval_ms", "manual_start_timeout", "stale_after_s")
    about = {name: getattr(options, name) for name in told}
    return about | {"endpoints": asdict(mailbox.endpoints), "restarts": mailbox.restarts, "pid": os.getpid()}


@contextmanager
def listen(address: str, *, most: int = WEB_CONNECTIONS) -> Iterator[descriptors.Listener]:
    """The page's listening socket. Raises `BindError` in words: uvicorn would end the process instead."""
    host, port = parse_http(address)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = descriptors.Listener(socket.create_server((host, port), family=family, backlog=2048))
    except OSError as error:
        raise BindError(f"cannot bind --http {address}: {error.strerror or error}") from None
    with listener:
        listener.most = most
        yield listener


def web_settings(options: ServeOptions, listener: socket.socket) -> WebSettings:
    """What the web layer is told. Raises `SettingsError` for settings that would expose it."""
    host, port = listener.getsockname()[:2]
    token = options.token
    settings = WebSettings(
        host=host,
        port=port,
        token=token.read() if isinstance(token, LateToken) else token,
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


def configure_logging(level: str) -> None:
    """One line per message on stderr."""
    text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level.upper(), format=text, stream=sys.stderr)
