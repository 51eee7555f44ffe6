"""The supervisor as a real process, with workers of a few words."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WORKER_DONE = 30.0


def piped(command: Any, **how: Any) -> Any:
    """A process whose output can be read here."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def supervise(*worker: Any, options: Any = (), stdin: Any = subprocess.DEVNULL, constants: str = "") -> Any:
    """A supervisor of `python -c worker[0] worker[1:]`; `constants` are statements run before it."""
    code = f"import sys, dp_coordinator.supervisor as s\n{constants}\nsys.exit(s.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *options, "--", sys.executable, "-c", *worker]
    return piped(command, stdin=stdin)


@contextlib.contextmanager
def supervised(*worker: Any, **how: Any) -> Iterator[Any]:
    with supervise(*worker, **how) as process:
        try:
            yield process
        finally:
            process.terminate()  # not killed: it takes its worker along


def finished(*worker: Any, **how: Any) -> Any:
    with supervised(*worker, **how) as process:
        out, err = process.communicate(timeout=WORKER_DONE)
        return process.returncode, out, err


SAYS_PID = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


@pytest.mark.parametrize("code", [2, 3])
def test_what_a_first_worker_says_of_itself_is_passed_on(code: str) -> None:
    returned, _, err = finished(f"raise SystemExit({code})")
    assert (returned, err) == (code, "")


def test_engines_that_are_missing_end_it_in_any_life(tmp_path: Path) -> None:
    lived = tmp_path / "lived"
    worker = "import os, sys; p = sys.argv[1]; sys.exit(3) if os.path.exists(p) else (open(p, 'w'), os.abort())"
    returned, _, err = finished(worker, str(lived))
    assert returned == 3
    assert "was ended by SIGABRT" in err


def test_a_killed_worker_is_started_again() -> None:
    with supervised(SAYS_PID) as process:
        first = int(process.stdout.readline())
        os.kill(first, signal.SIGKILL)
        second = int(process.stdout.readline())
        assert second != first
        assert "was ended by SIGKILL" in process.stderr.readline()


def test_a_worker_that_ended_unasked_is_started_again() -> None:
    with supervised(SAYS_PID) as process:
        os.kill(int(process.stdout.readline()), signal.SIGTERM)
        assert int(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_ends_its_worker_when_it_is_told_to_end(number: int) -> None:
    worker = (
        "import signal, time, sys; signal.signal(signal.SIGTERM, lambda *_: (print('told', flush=True), sys.exit(7)));"
        "print('up', flush=True); time.sleep(60)"
    )
    with supervised(worker) as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.stdout.readline() == "told\n"
        assert process.wait(WORKER_DONE) == 7


def test_a_worker_that_does_not_listen_is_killed() -> None:
    worker = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    with supervised(worker, constants="s.GRACE_S = 0.1") as process:
        process.stdout.readline()
        process.terminate()
        assert process.wait(WORKER_DONE) != 0
        assert "killing it" in process.stderr.read()


def test_it_gives_up_after_instant_deaths_and_says_so() -> None:
    returned, _, err = finished("raise SystemExit(9)", constants="s.PAUSES_S = (0.0,)")
    assert returned == 4
    assert err.count("starting it again") == 9
    assert "ended with exit code 9" in err
    assert "ended with exit code 9 at its start, the 10th time in a row: giving up" in err


def test_it_never_gives_up_on_workers_that_served() -> None:
    """Whoever kills them (an operator, the kernel when memory is short) may do so as often as he likes."""
    serves = f"import dp_coordinator.supervised as s; s.say_serving(); {SAYS_PID}"
    with supervised(serves, constants="s.INSTANT_S = 0.0; s.INSTANT_DEATHS = 2; s.PAUSES_S = (0.0, 60.0)") as process:
        for _ in range(4):
            os.kill(int(process.stdout.readline()), signal.SIGKILL)
            assert "was ended by SIGKILL after it served" in process.stderr.readline()


def test_nobody_is_told_without_a_supervisor() -> None:
    """A variable left over from elsewhere must not send signals to strangers."""
    code = "import dp_coordinator.supervised as s; s.say_serving(); print('well')"
    environment = os.environ | {"DP_COORDINATOR_SUPERVISOR_PID": "1"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout == "well\n"


def test_a_setting_that_went_wrong_later_is_tried_again(tmp_path: Path) -> None:
    """A port can be taken for a moment; that must not end a deployment that has run."""
    lives = tmp_path / "lives"
    worker = (
        "import os, sys, time\n"
        "p = sys.argv[1]; n = len(open(p).read()) if os.path.exists(p) else 0\n"
        "open(p, 'a').write('x')\n"
        "if n == 0: os.abort()\n"
        "if n == 1: sys.exit(2)\n"
        "print('up', flush=True); time.sleep(60)"
    )
    with supervised(worker, str(lives)) as process:
        assert process.stdout.readline() == "up\n"


def test_every_worker_reads_its_settings_from_the_beginning(tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    settings.write_text("the settings")
    with settings.open() as stdin, supervised(f"print(input(), flush=True); {SAYS_PID}", stdin=stdin) as process:
        for _ in range(3):
            assert process.stdout.readline() == "the settings\n"
            os.kill(int(process.stdout.readline()), signal.SIGKILL)


def test_its_scratch_folder_goes_with_it(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "journal").write_text("x")
    finished("raise SystemExit(2)", options=("--scratch", str(scratch)))
    assert not scratch.exists()


def gone(pid: int) -> Any:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], WORKER_DONE)[0])
    finally:
        os.close(process)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux to wait for a process that is no child")
def test_it_ends_with_its_parent_and_takes_its_worker_along() -> None:
    parent = (
        "import os, subprocess, sys\n"
        "s = subprocess.Popen([sys.executable, '-m', 'dp_coordinator.supervisor', '--parent', str(os.getpid()), '--',\n"
        "                      sys.executable, '-c', sys.argv[1]])\n"
        "print(s.pid, flush=True); s.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", parent, SAYS_PID], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        supervisor, worker = int(process.stdout.readline()), int(process.stdout.readline())
        process.kill()
        assert gone(supervisor)
        assert gone(worker)


def test_it_loads_nothing_but_the_standard_library() -> None:
    code = (
        "import sys, dp_coordinator.supervisor\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - {'__main__'}))"
    )
    out = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, env=_with_path()
    )
    assert out.stdout.strip() == "['dp_coordinator']"


def _with_path() -> Any:
    import dp_coordinator

    return os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(dp_coordinator.__file__))}


# -- a worker that hangs ----------------------------------------------------------------------------------------------

BEATS = "import time, os, dp_coordinator.supervised as s; s.say_serving(); print(os.getpid(), flush=True);"
LIVES = f"{BEATS}\nwhile True: s.say_alive(); time.sleep(0.05)"
HANGS = ("--hang-timeout", "0.5")


def test_a_stopped_worker_is_killed_and_started_again_and_that_is_said() -> None:
    with supervised(LIVES, options=HANGS) as process:
        first = int(process.stdout.readline())
        os.kill(first, signal.SIGSTOP)
        assert int(process.stdout.readline()) != first
        said = process.stderr.readline()
        assert "gave no sign of life for 0.5 s and was killed after it served" in said
        assert "starting it again (restart 1)" in said


def test_a_worker_whose_loop_stands_still_is_killed() -> None:
    with supervised(f"{BEATS} time.sleep(600)", options=HANGS) as process:
        first = int(process.stdout.readline())
        assert int(process.stdout.readline()) != first


def test_one_that_hangs_before_its_first_sign_of_life_is_killed_too() -> None:
    with supervised(SAYS_PID, options=HANGS, constants="s.START_PATIENCE_S = 0.5") as process:
        first = int(process.stdout.readline())
        assert int(process.stdout.readline()) != first
        assert "gave no sign of life for 0.5 s and was killed at its start" in process.stderr.readline()


def test_the_next_worker_is_told_how_the_one_before_it_ended() -> None:
    worker = f"import dp_coordinator.supervised as s; print(s.previous_end(), flush=True); {SAYS_PID}"
    with supervised(worker) as process:
        assert process.stdout.readline() == "None\n"
        os.kill(int(process.stdout.readline()), signal.SIGKILL)
        assert process.stdout.readline() == "was ended by SIGKILL at its start\n"


def test_time_in_which_the_supervisor_was_stopped_itself_is_not_the_workers_silence() -> None:
    """As when a laptop sleeps, or `kill -STOP` hits the group: on waking both are well."""
    code = (
        "import signal, types, dp_coordinator.supervisor as s, dp_coordinator.endings as e\n"
        "clock = iter((0.0, 3600.0, 3600.0, 7200.0))\n"
        "s.time = types.SimpleNamespace(monotonic=lambda: next(clock))\n"
        "e.wait = lambda numbers, seconds: None\n"
        "supervisor = s.Supervisor(['unused'])\n"
        "supervisor._wait(1.0); supervisor._wait(1.0)\n"
        "print(supervisor._silent_s)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "0.0\n"


def test_a_group_that_was_stopped_as_a_whole_goes_on_with_the_same_worker() -> None:
    code = "import sys, dp_coordinator.supervisor as s\nsys.exit(s.main(sys.argv[1:]))"
    says_beats = f"{BEATS}\nwhile True: s.say_alive(); print('beat', flush=True); time.sleep(0.2)"
    command = [sys.executable, "-c", code, "--hang-timeout", "1", "--", sys.executable, "-c", says_beats]
    with piped(command, start_new_session=True) as process:
        try:
            process.stdout.readline()
            for _ in range(3):
                os.killpg(process.pid, signal.SIGSTOP)
                assert not select.select([process.stderr], [], [], 2.0)[0]  # longer than the hang timeout
                os.killpg(process.pid, signal.SIGCONT)
                assert [process.stdout.readline() for _ in range(6)][-1] == "beat\n"
        finally:
            process.terminate()
            os.killpg(process.pid, signal.SIGCONT)
        assert "no sign of life" not in process.stderr.read()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a stopped process cannot be ended with its parent")
def test_a_stopped_worker_does_not_outlive_its_supervisor() -> None:
    with supervised(SAYS_PID) as process:
        worker = int(process.stdout.readline())
        os.kill(worker, signal.SIGSTOP)
        process.kill()
        assert gone(worker)


def test_strangers_cannot_speak_for_the_worker() -> None:
    with supervised(SAYS_PID, options=HANGS, constants="s.START_PATIENCE_S = 2.0; s.TICK_S = 0.1") as process:
        first = int(process.stdout.readline())
        while not select.select([process.stdout], [], [], 0.05)[0]:
            process.send_signal(signal.SIGUSR2)
        assert int(process.stdout.readline()) != first


# -- nothing passing lasts -------------------------------------------------------------------------------------------


def test_after_one_that_served_it_never_gives_up(tmp_path: Path) -> None:
    """What made the later ones die (no memory, a disk that is away) may be over in a minute."""
    lives = tmp_path / "lives"
    worker = (
        "import os, sys, time, dp_coordinator.supervised as s\n"
        "p = sys.argv[1]; n = len(open(p).read()) if os.path.exists(p) else 0\n"
        "open(p, 'a').write('x')\n"
        "if n == 0: s.say_serving(); time.sleep(0.3); os.abort()\n"
        "if n < 8: sys.exit(2)\n"
        "print('up', flush=True); time.sleep(60)"
    )
    constants = "s.INSTANT_S = 0.2; s.INSTANT_DEATHS = 3; s.PAUSES_S = (0.0,)"
    with supervised(worker, str(lives), constants=constants) as process:
        assert process.stdout.readline() == "up\n"


def test_a_worker_that_cannot_be_started_for_the_moment_is_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "program"
    code = "import sys, dp_coordinator.supervisor as s\ns.PAUSES_S = (0.0, 0.05); s.INSTANT_DEATHS = 10000\n"
    code += "sys.exit(s.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--", str(program)]
    with piped(command) as process:
        try:
            assert "cannot be started" in process.stderr.readline()
            complete = tmp_path / "complete"
            complete.write_text("#!/bin/sh\necho up\nexec sleep 60\n")
            complete.chmod(0o755)
            complete.rename(program)
            assert process.stdout.readline() == "up\n"
        finally:
            process.terminate()
            process.communicate(timeout=WORKER_DONE)


def test_it_works_where_nobody_tells_who_sent_a_signal() -> None:
    """As on macOS, which has no sigtimedwait."""
    with supervised(LIVES, options=HANGS, constants="del s.signal.sigtimedwait") as process:
        first = int(process.stdout.readline())
        os.kill(first, signal.SIGKILL)
        second = int(process.stdout.readline())
        os.kill(second, signal.SIGSTOP)
        assert int(process.stdout.readline()) not in {first, second}
        process.terminate()
        assert "ending: SIGTERM\n" in process.stderr.read()


def test_a_signal_while_it_is_not_yet_itself_leaves_no_scratch_folder(tmp_path: Path) -> None:
    """Whoever starts it with signals blocked (`DPCoordinator` does) has it take them once it can tidy up."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = supervise(SAYS_PID, options=("--scratch", str(scratch)))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WORKER_DONE)
    assert not scratch.exists()
