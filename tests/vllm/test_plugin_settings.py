"""DP_COORDINATOR_* under vLLM: what reaches the coordinator, and how a person hears what cannot be used."""

from __future__ import annotations

import json
import multiprocessing.connection
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import pytest

from dp_coordinator.handle import CoordinatorProcess
from dp_coordinator.options import CommandOptions
from dp_coordinator.settings import SettingsError, settings_of
from dp_coordinator.vllm.settings import DECIDED, options_for
from tests.vllm import standin
from tests.vllm.standin import state

TOKEN = "0123456789abcdef0123456789abcdef"


def refusal(vllm: Any, caplog: pytest.LogCaptureFixture) -> Any:
    """The one sentence that a person gets when vLLM builds its coordinator."""
    with pytest.raises(SystemExit) as ended, vllm.launch():
        pytest.fail("it started")
    assert ended.value.code == 2
    (record,) = [record for record in caplog.records if record.name == "vllm.dp_coordinator"]
    assert record.exc_info is None
    message = record.getMessage()
    assert "\n" not in message
    assert "--http" not in message
    return message


def variables(*, decided: Any) -> Any:
    """The variables that vLLM decides, or the others."""
    return {
        flag.variable
        for setting in settings_of(CommandOptions)
        for flag in setting.flags
        if flag.for_people and (setting.name in DECIDED) is decided
    }


@pytest.mark.parametrize("variable", sorted(variables(decided=True)))
def test_what_vllm_decides_cannot_be_set(
    install: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    monkeypatch.setenv(variable, "0.32" if variable.endswith("DIALECT") else "4")
    message = refusal(install(), caplog)
    assert f"{variable} has no meaning under vLLM" in message
    assert message.endswith("; unset it.")


PASSED_ON: dict[str, Any] = {
    "haproxy_agent": "127.0.0.1:8090",
    "llm_d_endpoints": "llm-d.yaml",
    "vllm_gauges": "tiny",
    "memory_limit": 300,
    "name": "prod-moe",
    "public_url": "http://d.example",
    "webhook": "http://e.example/hook",
    "webhook_format": "slack",
    "peers": "http://f.example:1",
    "curve_address": "tcp://10.0.0.1:5600",
    "curve_clients": "clients",
}


GIVEN = {
    "DP_COORDINATOR_ALLOWED_HOST": "a.example,b.example",
    "DP_COORDINATOR_ALLOWED_ORIGIN": "http://c.example",
    "DP_COORDINATOR_ENDPOINTS_FILE": "ends.json",
    "DP_COORDINATOR_HANG_TIMEOUT": "15",
    "DP_COORDINATOR_HTTP": "127.0.0.1:1234",
    "DP_COORDINATOR_LOG_LEVEL": "debug",
    "DP_COORDINATOR_MANUAL_START_TIMEOUT": "7",
    "DP_COORDINATOR_MIN_STATS_UPDATE_INTERVAL_MS": "50",
    "DP_COORDINATOR_RECORD": "recordings",
    "DP_COORDINATOR_RECORD_MAX_MB": "32",
    "DP_COORDINATOR_ALARM_NOT_STEPPING_S": "11",
    "DP_COORDINATOR_ALARM_SILENT_S": "12",
    "DP_COORDINATOR_ALARM_IMBALANCE_S": "13",
    "DP_COORDINATOR_ALARM_MISSING_S": "14",
    "DP_COORDINATOR_ALARM_HUNG_S": "15",
    "DP_COORDINATOR_SCRAPE": "http://a.example:1-8,https://b.example:1",
    "DP_COORDINATOR_SCRAPE_FILE": "targets",
    "DP_COORDINATOR_SCRAPE_INTERVAL": "1.5",
    "DP_COORDINATOR_SCRAPE_TIMEOUT": "4",
    "DP_COORDINATOR_SCRAPE_CA_FILE": "ca.pem",
    "DP_COORDINATOR_TAP": "tcp://10.0.0.7:5555",
    "DP_COORDINATOR_START_TIMEOUT": "300",
    "DP_COORDINATOR_SUPERVISED": "0",
    "DP_COORDINATOR_TOKEN": TOKEN,
    "DP_COORDINATOR_TRUSTED_PROXY": "10.0.0.0/8,::1",
    "DP_COORDINATOR_TRUST_NETWORK_WITHOUT_TOKEN": "1",
    **{f"DP_COORDINATOR_{name.upper()}": str(value) for name, value in PASSED_ON.items()},
    "DP_COORDINATOR_ALLOW_FRAME": "http://g.example",
    "DP_COORDINATOR_ALLOW_PEER": "10.0.0.0/8",
}


def test_every_setting_of_serve_is_decided_or_passed_on() -> None:
    """A flag that serve gets one day is either taken over or named in DECIDED."""
    assert variables(decided=False) == GIVEN.keys() | {
        "DP_COORDINATOR_NO_HTTP",
        "DP_COORDINATOR_TOKEN_FILE",
        "DP_COORDINATOR_SCRAPE_TOKEN_FILE",
        "DP_COORDINATOR_CURVE_KEY",
        "DP_COORDINATOR_WEBHOOK_SECRET_FILE",
    }
    assert options_for(2, "0.32.0", True, GIVEN) == CommandOptions(
        engine_count=2,
        allowed_hosts=("a.example", "b.example"),
        allowed_origins=("http://c.example",),
        endpoints_file="ends.json",
        dialect="0.32.0",
        hang_timeout=15.0,
        http="127.0.0.1:1234",
        log_level="debug",
        manual_start_timeout=7.0,
        min_stats_update_interval_ms=50,
        record="recordings",
        record_max_mb=32,
        alarm_not_stepping_s=11.0,
        alarm_silent_s=12.0,
        alarm_imbalance_s=13.0,
        alarm_missing_s=14.0,
        alarm_hung_s=15.0,
        scrape=("http://a.example:1-8", "https://b.example:1"),
        scrape_file="targets",
        scrape_interval=1.5,
        scrape_timeout=4.0,
        scrape_ca_file="ca.pem",
        tap="tcp://10.0.0.7:5555",
        start_timeout=300.0,
        supervised=False,
        token=TOKEN,
        trust_network_without_token=True,
        trusted_proxies=("10.0.0.0/8", "::1/128"),
        wave_coordination=True,
        allow_frames=("http://g.example",),
        allow_peers=("10.0.0.0/8",),
        **PASSED_ON,
    )


def test_defaults() -> None:
    options = options_for(2, "0.32.0", False, {})
    assert options.supervised is True
    assert options.http == "127.0.0.1:8080-8099"
    assert options.wave_coordination is False
    assert options.journal is None, "the handle keeps its own"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("--port 8000", ()),  # its engines report
        ("--port 8000 --data-parallel-size 4", ()),
        ("--data-parallel-rank 0", ()),  # the port may stand in a file
        ("--port 8000 --data-parallel-rank 0", ("http://127.0.0.1:8000",)),
        ("--port=8000 --data-parallel-external-lb --host 10.0.0.7", ("http://10.0.0.7:8000",)),
        ("--port 8000 --host 0.0.0.0 --data-parallel-rank=0", ("http://127.0.0.1:8000",)),
        (
            "--port 8000 --data-parallel-multi-port-external-lb --data-parallel-size-local 8",
            ("http://127.0.0.1:8000-8007",),
        ),
        ("--port 8000 --data-parallel-rank 0 --ssl-certfile x --ssl-keyfile y", ()),
        ("--port 8000 --data-parallel-rank 0 --host no/host", ()),
    ],
)
def test_api_servers_that_vllms_own_command_line_tells_of(words: str, found: tuple[str, ...]) -> None:
    arguments = ("vllm", "serve", "model", *words.split())
    assert options_for(2, "0.32.0", True, {}, arguments).scrape == found
    named = {"DP_COORDINATOR_SCRAPE": "http://a.example:1"}
    assert options_for(2, "0.32.0", True, named, arguments).scrape == ("http://a.example:1",)


@pytest.mark.parametrize("words", [("--port", "8080"), ("--port=8080",), ("--port", "1", "--port", "8080")])
def test_the_page_keeps_away_from_vllms_own_port(words: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    arguments = ("vllm", "serve", "model", *words)
    assert options_for(2, "0.32.0", True, {}, arguments).http == "127.0.0.1:8081-8099"
    assert "Port 8080 is vLLM's own" in caplog.text
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1:8080 is vLLM's own --port"):
        options_for(2, "0.32.0", True, {"DP_COORDINATOR_HTTP": "127.0.0.1:8080"}, arguments)


def test_a_taken_port(install: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("DP_COORDINATOR_HTTP", taken)
        assert f"cannot bind DP_COORDINATOR_HTTP {taken}: Address already in use" in refusal(install(), caplog)


def test_a_public_address_without_a_token(
    install: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DP_COORDINATOR_HTTP", "0.0.0.0:0")
    message = refusal(install(), caplog)
    assert "refusing to serve 0.0.0.0" in message
    assert "DP_COORDINATOR_TOKEN" in message
    assert "--" not in message


BAD = {
    "DP_COORDINATOR_HTTP": "8080",
    "DP_COORDINATOR_START_TIMEOUT": "soon",
    "DP_COORDINATOR_SUPERVISED": "sometimes",
    "DP_COORDINATOR_LOG_LEVEL": "loud",
    "DP_COORDINATOR_TOKEN_FILE": "/nowhere/token",
    "DP_COORDINATOR_ENDPOINTS_FILE": "/nowhere/ends.json",
    "DP_COORDINATOR_MIN_STATS_UPDATE_INTERVAL_MS": "99999999",
}


@pytest.mark.parametrize("variable", BAD)
def test_a_bad_value(
    install: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    monkeypatch.setenv(variable, BAD[variable])
    assert variable in refusal(install(), caplog)


def test_no_folder_for_the_journal(
    install: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    message = refusal(install(), caplog)
    assert "/nowhere" in message
    assert "TMPDIR" in message


def test_the_token_guards_the_page(install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    monkeypatch.setenv("DP_COORDINATOR_TOKEN_FILE", str(tmp_path / "token"))
    with install().launch() as coordinator:
        url = f"{coordinator.http_url}/api/v1/state"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=10)
        refused.value.close()
        assert refused.value.code == 401
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200


def test_no_page(install: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    monkeypatch.delenv("DP_COORDINATOR_HTTP")
    monkeypatch.setenv("DP_COORDINATOR_NO_HTTP", "1")
    with install().launch() as coordinator:
        assert coordinator.proc.is_alive()
    assert "Dashboard: none (DP_COORDINATOR_NO_HTTP)" in caplog.text


def test_endpoints_file(install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "ends.json"
    monkeypatch.setenv("DP_COORDINATOR_ENDPOINTS_FILE", str(file))
    with install().launch() as coordinator:
        ends = json.loads(file.read_text())
        assert ends["front_publish"] == coordinator.get_stats_publish_address()
        assert (ends["back_publish"], ends["back_output"]) == coordinator.get_engine_socket_addresses()
    assert not file.exists()


def worker(coordinator: Any) -> Any:
    return coordinator.worker_pid()


def gone(pid: int) -> Any:
    """Wait until no such process is there."""
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").exists() and _state(pid) != "Z":
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)
    return True


def _state(pid: int) -> Any:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_the_coordinator_never_imports_vllm(install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever imports this vLLM leaves its process id; the coordinator's processes could, and do not."""

    def edit(engine: Any) -> None:
        package = engine.parent.parent / "__init__.py"
        note = (
            f"import os\nwith open({str(tmp_path / 'importers')!r}, 'a') as file:\n    print(os.getpid(), file=file)\n"
        )
        package.write_text(package.read_text() + note)

    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with install(edit=edit).launch() as coordinator:
        assert state(coordinator)["pid"] == worker(coordinator)
        assert (tmp_path / "importers").read_text().split() == [str(os.getpid())]


def test_a_fork_that_lets_go_changes_nothing(install: Any) -> None:
    """vLLM may fork its API servers and engines, and a copy of the coordinator's handle comes along."""
    with install().launch() as coordinator:
        scratch = Path(coordinator._directory)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking where there are threads
            pid = os.fork()
        if pid == 0:
            coordinator.shutdown()
            os._exit(0)
        os.waitpid(pid, 0)
        assert scratch.exists()
        assert coordinator.proc.is_alive()
    assert not scratch.exists()


def test_there_is_an_exit_code_when_vllm_asks_for_it(install: Any) -> None:
    """At once after the sentinel, and vLLM takes None for a failure."""
    vllm = install()
    for number in (signal.SIGKILL, signal.SIGTERM):
        with vllm.launch() as coordinator:
            os.kill(coordinator.proc.pid, number)
            assert multiprocessing.connection.wait([coordinator.proc.sentinel], timeout=20)
            assert coordinator.proc.exitcode == (-signal.SIGKILL if number == signal.SIGKILL else 0)


def test_shutdown_at_once_leaves_nothing(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's default is `shutdown(timeout=0.0)`; a busy machine is given longer than a second to end it."""
    monkeypatch.setattr("dp_coordinator.vllm.coordinator.SHUTDOWN_AT_LEAST", 20.0)
    with install().launch() as coordinator:
        pids = [coordinator.proc.pid, worker(coordinator)]
        assert isinstance(coordinator.proc, CoordinatorProcess)
        coordinator.shutdown(timeout=0.0)
        assert coordinator.proc.exitcode == 0
    for pid in pids:
        assert gone(pid)


def test_a_killed_worker_comes_back_at_the_same_addresses(install: Any) -> None:
    with install().launch() as coordinator:
        before = worker(coordinator)
        ends = coordinator.get_engine_socket_addresses()
        os.kill(before, signal.SIGKILL)
        url = f"{coordinator.http_url}/api/v1/state"
        deadline = time.monotonic() + 15
        while True:
            assert time.monotonic() < deadline
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    seen = json.load(answer)
            except (OSError, urllib.error.URLError):
                continue
            if seen["pid"] != before:
                break
        assert seen["restarts"] == 1
        assert (seen["endpoints"]["back_publish"], seen["endpoints"]["back_output"]) == ends
        assert coordinator.proc.is_alive()


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    standin.write(tmp_path, standin.NEWEST)
    program = textwrap.dedent("""
        import os, signal
        from dp_coordinator.vllm import register
        register()
        from vllm.v1.engine.utils import launch_core_engines
        from tests.vllm.standin import NEWEST, ParallelConfig
        with launch_core_engines(ParallelConfig(NEWEST)) as coordinator:
            print(coordinator.proc.pid, coordinator.worker_pid(), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    repository = Path(__file__).parents[2]
    environment = os.environ | {
        "DP_COORDINATOR": "1",
        "DP_COORDINATOR_HTTP": "127.0.0.1:0",
        "PYTHONPATH": f"{tmp_path}:{repository}",
    }
    ran = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    with ran:
        assert ran.stdout is not None
        pids = [int(pid) for pid in ran.stdout.readline().split()]
        assert ran.wait(10) == -signal.SIGKILL
    assert len(pids) == 2
    for pid in pids:
        assert gone(pid)
