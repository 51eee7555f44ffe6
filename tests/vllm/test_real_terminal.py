"""`nohup vllm serve` whose terminal is closed. Run by `make test-vllm`."""

from __future__ import annotations

import os
import pty

import pytest

from tests.vllm.deployment import MOE, deployed, exists
from tests.waiting import wait_until

pytestmark = pytest.mark.vllm


def test_a_closed_terminal_ends_nothing_that_nohup_started() -> None:
    """SIGHUP goes to the whole group; the supervisor used to end by it, and vLLM with one API server did not notice."""
    master, slave = pty.openpty()
    with deployed(MOE, ["--dtype", "float32"], terminal=slave) as vllm:
        os.close(slave)
        supervisor, worker = vllm.supervisor_pid(), vllm.state()["pid"]
        vllm.complete_all(4, 8)
        os.close(master)  # the terminal is closed
        vllm.complete_all(4, 8)
        before = vllm.paused()
        assert before["pid"] == worker
        assert exists(supervisor)
        killed = vllm.kill_worker()  # and it is still there to do what it is for
        wait_until(lambda: vllm.rejoined(killed), "all engines are back")
        vllm.complete(8)
        assert exists(supervisor)
