"""A process that was stopped stands still: what is tried on it then is not answered by a thread that still runs."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time

from tests.signals import stop

COUNTS = """
import mmap, sys, threading, time
shared = mmap.mmap(int(sys.argv[1]), 8)
def counts():
    count = 0
    while True:
        count += 1
        shared[:] = count.to_bytes(8, "little")
threading.Thread(target=counts).start()
time.sleep(600)  # the signal is this thread's, which has to be waked for it
"""
PROCESSES_A_CORE = 3


def test_a_stopped_process_does_nothing_more_once_it_is_said_to_be_stopped() -> None:
    busy = (os.cpu_count() or 1) * PROCESSES_A_CORE
    with tempfile.TemporaryFile() as file:
        file.truncate(8)
        command = [sys.executable, "-c", COUNTS, str(file.fileno())]
        processes = [subprocess.Popen(command, pass_fds=[file.fileno()]) for _ in range(busy)]
        try:
            with mmap.mmap(file.fileno(), 8) as shared:
                while not any(shared[:]):
                    time.sleep(0.001)
                for _ in range(50):
                    for process in processes:
                        stop(process.pid)
                    stands = shared[:]
                    time.sleep(0.002)
                    assert shared[:] == stands
                    for process in processes:
                        process.send_signal(signal.SIGCONT)
        finally:
            for process in processes:
                process.kill()
                process.wait()
