"""`dp-coordinator watch`."""

from __future__ import annotations

import gc
from contextlib import nullcontext

from dp_coordinator import __version__
from dp_coordinator.cli.options import WatchOptions
from dp_coordinator.options import asks
from dp_coordinator.settings import SettingsError


def watch(options: WatchOptions) -> int:
    """Show what others run until SIGINT or SIGTERM: the page and REST on sources alone."""
    if not asks(options):
        raise SettingsError("there is nothing to watch: name it with --scrape, --scrape-file or --tap")
    # Imported here: a mistake on the command line needs no web server.
    from dp_coordinator.listening import url_of  # noqa: PLC0415
    from dp_coordinator.process.listener import listen, listen_agent, web_settings  # noqa: PLC0415
    from dp_coordinator.process.web_thread import freeze  # noqa: PLC0415
    from dp_coordinator.watching import watch as show  # noqa: PLC0415

    with listen(options.http) as listener, listen_agent(options) or nullcontext() as agent:
        settings = web_settings(options, listener)
        print(f"dp-coordinator {__version__}, watching: no coordinator is replaced, nothing can be started")
        print(f"  dashboard      {url_of(listener)}", flush=True)
        freeze()
        gc.set_threshold(10_000)  # hundreds of answers a second come and go, and next to nothing of them is garbage
        show(options, settings, listener, agent)
    return 0
