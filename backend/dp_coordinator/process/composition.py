"""The composition root: one process with the poll loop on its main thread and the web server on one other.

Start-up order: check the settings, bind the sockets, begin to record, bind the page's port and start the web thread,
tell whoever asked where everything is, turn the loop. Shut-down is the reverse.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial

from dp_coordinator import descriptors
from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.dialect import TESTED
from dp_coordinator.endings import Told, told_to_end
from dp_coordinator.journal import Journal, JournalRecord
from dp_coordinator.listening import url_at
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.options import Deployment, ServeOptions
from dp_coordinator.process.bound import Bound
from dp_coordinator.process.guard import Guard, limit_memory
from dp_coordinator.process.listener import AGENT_CONNECTIONS, PAGE_CONNECTIONS, listen, listen_agent, web_settings
from dp_coordinator.process.parts import PagePart, record, sources
from dp_coordinator.process.upkeep import Part, Upkeep
from dp_coordinator.process.web_thread import freeze
from dp_coordinator.settings import SettingsError, checked, shared
from dp_coordinator.supervised import (
    EXIT_SETTINGS,
    EXIT_START_TIMEOUT,
    lifeline,
    previous_end,
    say_alive,
    say_serving,
)
from dp_coordinator.transport import Loop, Sockets, StartTimeoutError
from dp_coordinator.transport.curve import load as load_curve

log = logging.getLogger("dp_coordinator")

EXIT_OK = 0
EXIT_WEB = 1
"""The web server ended by itself."""


class WebError(RuntimeError):
    """The web server ended by itself."""


def serve(
    options: ServeOptions,
    on_bound: Callable[[Bound], None] = lambda bound: None,
    on_error: Callable[[str], None] = lambda sentence: None,
) -> int:
    """Run a coordinator on this thread until a signal ends it (`endings`), and return the exit code.

    `on_bound` is called once everything is bound and before the first message is read. Settings that cannot be used and
    addresses that cannot be bound give a line on the log and exit code 2; missing engines give 3. `on_error` is told
    the same sentence. One that comes back by its journal waits for its addresses instead, and does without what waves
    do not need, `on_bound` included.
    """
    say_alive()
    try:
        with told_to_end() as told:
            _serve(checked(options), on_bound, told)
    except (SettingsError, StartTimeoutError, WebError) as error:
        log.error("%s", error)
        on_error(str(error))
        if isinstance(error, SettingsError):
            return EXIT_SETTINGS
        return EXIT_START_TIMEOUT if isinstance(error, StartTimeoutError) else EXIT_WEB
    return EXIT_OK


def _serve(options: ServeOptions, on_bound: Callable[[Bound], None], told: Told) -> None:
    dialect = Dialect.for_version(options.dialect)
    if not dialect.tested:
        log.warning("vLLM %s is newer than any that was tested (%s); speaking as the newest", dialect.version, TESTED)
    sys.setswitchinterval(0.0001)  # a busy web thread may hold the loop up for a tenth of a millisecond, not five
    if (wrong := descriptors.too_few()) is not None:
        raise SettingsError(wrong)
    with ExitStack() as stack:
        journal = _journal(options, stack)
        past = None if journal is None else journal.past
        engines = options.engine_count if past is None else past.state.engine_count
        limit_memory(options.memory_limit, engines)
        sockets = stack.enter_context(_sockets(options, engines, past))
        budget = _descriptors(options, first=past is None)
        coordinator, mailbox, loop, upkeep = _assemble(options, dialect, sockets, journal)
        stack.callback(loop.close)
        if options.record is not None:
            begin = partial(record, options, coordinator, mailbox, loop, stack)
            upkeep.add(Part("the recording", begin), needed=past is None)
        page = _page(options, budget, past, mailbox, loop, stack=stack)
        if page is not None:
            upkeep.add(page.part, needed=past is None)
        http = _http(options, page, past)
        if journal is not None:
            upkeep.add(Part("the journal", partial(journal.begin, sockets.endpoints(), http)), needed=past is None)
        _log_start(mailbox, dialect, past)
        bound = Bound(
            **asdict(sockets.endpoints()), http_url=None if http is None else url_at(http[1]), pid=os.getpid()
        )
        upkeep.add(Part("the announcement of the addresses", partial(on_bound, bound)), needed=past is None)
        stack.enter_context(Guard(sockets, lambda: loop.steps))
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
    journal = Journal(options.journal, Deployment(**shared(options, Deployment)))
    stack.callback(journal.close)
    return journal


def _sockets(options: ServeOptions, engines: int, past: JournalRecord | None) -> Sockets:
    curve = load_curve(options.curve_address, options.curve_key, options.curve_clients)
    bind = partial(Sockets, engines=engines, allow_peers=options.allow_peers, curve=curve)
    if past is not None:
        ends = past.endpoints
        return bind(ends.front_publish, ends.back_output, ends.back_publish, patient=True)
    return bind(options.front_publish_address, options.back_output_address, options.back_publish_address)


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
    agent = 0 if options.haproxy_agent is None else AGENT_CONNECTIONS
    page = 0 if options.http is None else PAGE_CONNECTIONS
    budget = descriptors.share(options.engine_count, page, others=agent)
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
) -> tuple[Coordinator, Mailbox, Loop, Upkeep]:
    now = time.monotonic()
    past = None if journal is None else journal.past
    interval = options.min_stats_update_interval_ms / 1000
    coordinator = Coordinator(
        options.engine_count,
        dialect,
        now=now,
        wave_coordination=options.wave_coordination,
        min_stats_update_interval=interval,
        manual_start_timeout=options.manual_start_timeout,
        action_prefix=secrets.token_hex(4),
        resumed=None if past is None else past.state,
    )
    restarts = 0 if journal is None else journal.restarts
    mailbox = Mailbox(
        coordinator.snapshot(now), sockets.endpoints(), min_stats_update_interval=interval, restarts=restarts
    )
    restarted = None if journal is None else previous_end()
    upkeep = Upkeep(mailbox, sockets.unreachable, fresh=past is None, restarted=restarted)
    loop = Loop(
        coordinator,
        sockets,
        mailbox,
        start_timeout=options.start_timeout,
        should_stop=_each_turn(upkeep, lifeline(options.parent_pid)),
        write_journal=(lambda state: None) if journal is None else journal.write,
    )
    return coordinator, mailbox, loop, upkeep


def _each_turn(upkeep: Upkeep, orphaned: Callable[[], bool]) -> Callable[[], bool]:
    """What the loop does at every turn beside its work; whether it is to stop."""

    def should_stop() -> bool:
        upkeep.turn()
        if orphaned():
            log.info("stopping: the process that started this one is gone")
            return True
        return False

    return should_stop


def _page(
    options: ServeOptions,
    budget: descriptors.Budget,
    past: JournalRecord | None,
    mailbox: Mailbox,
    loop: Loop,
    *,
    stack: ExitStack,
) -> PagePart | None:
    """The page, where an earlier incarnation had it if that was asked for the same: viewers come back there."""
    asked = options.http
    if asked is None:
        if options.haproxy_agent is not None or options.llm_d_endpoints is not None:
            raise SettingsError("--no-http leaves out what --haproxy-agent and --llm-d-endpoints need: the web server")
        return None
    before = past.http[1] if past is not None and past.http is not None and past.http[0] == asked else None
    return PagePart(
        partial(listen, asked, before, budget.web),
        partial(listen_agent, options),
        partial(web_settings, options),
        mailbox,
        loop,
        stack=stack,
        needed=past is None,
        beside=sources(options, mailbox),
    )


def _http(options: ServeOptions, page: PagePart | None, past: JournalRecord | None) -> tuple[str, str] | None:
    """The page's address as it was asked for, and as it is, or was before the restart and will be again."""
    if options.http is None or page is None:
        return None
    if page.bound is not None:
        return options.http, page.bound
    return None if past is None else past.http
