"""What a coordinator can do without for a while."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import Endpoints
from dp_coordinator.options import ServeOptions
from dp_coordinator.process.listener import listen, web_settings
from dp_coordinator.process.parts import PagePart
from dp_coordinator.process.web_thread import WebThread
from tests.waiting import wait_until
from tests.web.builders import snapshot


class Stopped:
    """Stands for a loop."""

    def __init__(self) -> None:
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


def page_that_ends(monkeypatch: pytest.MonkeyPatch, stack: ExitStack, *, needed: bool) -> tuple[PagePart, Any]:
    loop: Any = Stopped()
    serve = partial(listen, "127.0.0.1:0", None)
    mailbox = Mailbox(snapshot(), Endpoints("", "", ""), min_stats_update_interval=0.1)
    settings_for = partial(web_settings, ServeOptions(2))
    page = PagePart(serve, lambda: None, settings_for, mailbox, loop, stack=stack, needed=needed)
    with monkeypatch.context() as patch:
        patch.setattr(WebThread, "_serve", lambda thread: None)
        page.part.attempt(0.0)
        wait_until(lambda: loop.stopped if needed else page.part.missing is not None, "the end of the web server")
    return page, loop


def test_a_page_that_ends_by_itself_after_a_restart_is_served_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        page, loop = page_that_ends(monkeypatch, stack, needed=False)
        ended = page.part.missing
        assert ended == "the web server has ended, and nobody told it to; the log says why"
        before = page.bound
        assert before is not None
        monkeypatch.setattr(page, "_listen", partial(listen, before))
        page.part.attempt(1.0)
        assert page.bound == before
        assert not page.ended
        assert not loop.stopped
        after: str | None = page.part.missing
        assert after is None


def test_a_page_that_ends_by_itself_at_first_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        page, _ = page_that_ends(monkeypatch, stack, needed=True)
        assert page.ended
