"""`dp-coordinator set-wave` and `set-engine-count`, against a real web server and core."""

from __future__ import annotations

import json

from dp_coordinator.core.events import EngineCountChanged
from tests.cli.run import run
from tests.web.conftest import fresh as fresh  # noqa: PLC0414  (the fixture)
from tests.web.rig import Site

WHY = ("--reason", "it hangs")


def test_the_wave_is_set_from_what_it_is_now(fresh: Site) -> None:
    url = str(fresh.http.base_url)
    done = run("set-wave", "57", *WHY, "--url", url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "wave set from 0 to 57\n", "")
    done = run("set-wave", "58", *WHY, "--expected", "3", "--url", url)
    assert done.returncode == 1
    assert "the current wave is 57, not 3" in done.stderr
    done = run("set-wave", "3", *WHY, "--json", "--url", url)
    assert json.loads(done.stdout) == {"corrected": "wave", "before": 57, "after": 3}
    done = run("set-wave", "3", "--url", url)
    assert done.returncode == 2
    assert "--reason" in done.stderr


def test_the_engine_count_is_set(fresh: Site) -> None:
    url, count = str(fresh.http.base_url), fresh.loop.core.engine_count
    fresh.loop.feed(EngineCountChanged(1))
    done = run("set-engine-count", str(count), *WHY, "--url", url)
    assert (done.returncode, done.stdout) == (0, f"engine count set from 1 to {count}\n")
    assert fresh.loop.core.engine_count == count
